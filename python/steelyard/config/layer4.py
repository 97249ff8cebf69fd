"""What is set of a listener of layer 4, and means something to HTTP alone.

Such a listener carries connections or datagrams as they are. What has no default the engine
refuses by itself; here is the rest.
"""

from collections.abc import Iterator

from steelyard.config.root import Config
from steelyard.config.source import KeyPath, Source
from steelyard.errors import Problem

__all__ = ["layer4_problems"]

TAKE_IT_OUT = "take it out"
HTTP_ALONE: dict[KeyPath, str] = {
    ("limits", "header_bytes"): TAKE_IT_OUT,
    ("limits", "header_count"): TAKE_IT_OUT,
    ("limits", "target_bytes"): TAKE_IT_OUT,
    ("limits", "streams"): TAKE_IT_OUT,
    ("limits", "resets"): TAKE_IT_OUT,
    ("limits", "control_frames"): TAKE_IT_OUT,
    ("timeouts", "request_header"): TAKE_IT_OUT,
    ("timeouts", "request_body"): TAKE_IT_OUT,
    ("timeouts", "idle"): "how long nothing may move is timeouts.tunnel of the pool",
    ("tls", "acme"): "certificates are obtained for listeners of HTTP; name the files in certificates",
}


def layer4_problems(config: Config, source: Source) -> Iterator[Problem]:
    """One for each setting that would do nothing."""
    for name, listener in config.listeners.items():
        if listener.protocol == "http":
            continue
        for key, hint in HTTP_ALONE.items():
            if is_set(source, ("listeners", name, *key)):
                reason = f'this belongs to HTTP, and the listener has protocol = "{listener.protocol}"'
                yield source.problem(("listeners", name, *key), reason, hint)


def is_set(source: Source, path: KeyPath) -> bool:
    value: object = source.data
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return True
