"""Secrets: read from files, so that they are never in the text of a configuration, and never shown."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, ValidationInfo

from steelyard.config.units import refuse

__all__ = ["SecretFile"]

BYTES_MIN = 16
BYTES_MAX = 4096
REMEDY = "make one with: (umask 077; openssl rand -hex 32 > {})"


@dataclass(frozen=True)
class Secret:
    """What a file holds, without the end of its last line; its `repr` tells only where that is."""

    path: Path
    content: bytes = field(repr=False)


def read_secret(value: object, info: ValidationInfo) -> Secret:
    """A relative path is one from the folder of the configuration."""
    if not isinstance(value, str) or not value:
        raise refuse("expected the path of a file", 'for instance "session.key"')
    path = Path((info.context or {}).get("folder", "."), value).absolute()
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except FileNotFoundError:
        raise refuse(f"{path}: there is no such file", REMEDY.format(path)) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "the user that runs steelyard must be able to read it"
        raise refuse(f"{path}: {reason}", hint) from None
    if len(content) > BYTES_MAX:
        raise refuse(f"{path} is larger than {BYTES_MAX} bytes", "is it a secret at all?")
    content = content.rstrip(b"\r\n")
    if len(content) < BYTES_MIN:
        raise refuse(f"{path} holds fewer than {BYTES_MIN} bytes", REMEDY.format(path))
    return Secret(path, content)


SecretFile = Annotated[
    Secret,
    PlainValidator(read_secret, json_schema_input_type=str),
    PlainSerializer(lambda secret: str(secret.path)),
]
