"""How a pool chooses: a policy the engine knows, with its settings, or one written in Python."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from steelyard import _core
from steelyard.config.base import Model, one_of, table_with
from steelyard.config.score import (
    Compiled,
    ScoreError,
    ScoreFunction,
    compile_score,
    find_score,
    has_module,
    is_score,
)
from steelyard.config.secret import SecretFile
from steelyard.config.units import (
    Count,
    Duration,
    refuse,
)

__all__ = [
    "DEFAULT_POLICY",
    "POLICIES",
    "Policy",
    "PolicyTable",
    "setting_alone",
]

POLICIES: tuple[str, ...] = tuple(_core.POLICIES)
DEFAULT_POLICY = "least_request"


known_policy: Any = one_of("policy", *POLICIES).func


def setting_alone(name: str, folder: Path | None) -> tuple[str, str] | None:
    """The policy and the word of "ring_hash:key", which looks like a function in a module, but is none."""
    policy, _, word = name.partition(":")
    if policy in POLICIES and is_score(name) and not has_module(policy, folder):
        return policy, word
    return None


def policy_or_score(value: object, info: ValidationInfo) -> object:
    """A name that the engine knows, or a function in a module."""
    if isinstance(value, str) and (alone := setting_alone(value, folder_of(info))):
        policy, word = alone
        key = word if word in PolicyTable.model_fields else "key"
        raise refuse(
            f'"{value}" names no policy', f'{policy} takes settings so: {{ name = "{policy}", {key} = ... }}'
        )
    if isinstance(value, str) and is_score(value):
        return value
    name = value.partition(":")[0] if isinstance(value, str) and ":" in value else None
    if name in POLICIES:
        raise refuse(
            f'"{value}" names no policy', f'{name} takes settings so: {{ name = "{name}", key = ... }}'
        )
    if isinstance(value, str) and ":" in value:
        raise refuse(
            f'"{value}" names no policy',
            'one written in Python is "module:function", such as "mine:score" for score in mine.py',
        )
    if isinstance(value, str) and is_score(dotted := ":".join(value.rsplit(".", 1))):
        raise refuse(
            f'"{value}" names no policy', f'one written in Python has a colon before the function: "{dotted}"'
        )
    return known_policy(value)


def folder_of(info: ValidationInfo) -> Path | None:
    """Where a policy written in Python is looked for first."""
    return info.context.get("folder") if isinstance(info.context, dict) else None


PolicyName = Annotated[str, WithJsonSchema({"enum": list(POLICIES)})]
ScoreName = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"})]


REFRESH_MS_MIN = 1_000


def not_too_often(refresh: int) -> int:
    if refresh < REFRESH_MS_MIN:
        raise refuse("weights change once a second at the most", 'write refresh = "1s" or more')
    return refresh


class PolicyTable(Model):
    """A policy with its settings; one that the policy does not know is refused."""

    name: Annotated[str, BeforeValidator(policy_or_score, json_schema_input_type=PolicyName | ScoreName)]
    """Which policy; "mymodule:score" is one written in Python."""
    choices: Literal[2] | None = None
    """A policy written in Python compares two endpoints drawn by weight instead of all."""
    python_policy: (
        Annotated[
            Literal["compiled", "interpreted"], one_of("kind of policy in Python", "compiled", "interpreted")
        ]
        | None
    ) = None
    """A policy written in Python is "compiled" by numba, unless given, or "interpreted": called every
    `refresh`."""
    refresh: Annotated[Duration, AfterValidator(not_too_often)] | None = None
    """How often an interpreted policy is called; 1 s unless given, and no less."""
    key: str | None = None
    """What ties requests together: "address", "path", "header:NAME", "cookie:NAME" or "query:NAME".

    The policies that hash need one. A request that has none of it goes anywhere, in proportion to weight."""
    ring_size: Annotated[int, Field(ge=1, le=8 * 2**20)] | None = None
    """The least number of points on the ring of ring_hash and bounded_hash, 1024 unless given; the more there
    are, the more even the shares."""
    table_size: Annotated[int, Field(ge=3, le=5_000_011)] | None = None
    """The entries of maglev's table, a prime; 65537 unless given."""
    balance: Annotated[float, Field(gt=1, le=100)] | None = None
    """How much more than its share of the requests in flight bounded_hash lets an endpoint carry; 1.25 unless
    given."""
    cookie: str | None = None
    """The name of the cookie by which sticky knows a session; "steelyard" unless given."""
    secret_file: SecretFile | None = None
    """What signs sticky's cookies: a file of at least 16 bytes, the same for all instances."""
    secure: bool | None = None
    """Whether sticky's cookie is sent over TLS alone; unless given, where it was set over TLS."""
    http_only: bool | None = None
    """Whether sticky's cookie is kept from scripts; true unless given."""
    same_site: (
        Annotated[Literal["lax", "strict", "none"], one_of("same_site", "lax", "strict", "none")] | None
    ) = None
    """Which requests from other sites sticky's cookie goes with; "lax" unless given."""
    max_age: Duration | None = None
    """How long sticky's cookie is kept; unless given, as long as the browser runs."""
    decay: Duration | None = None
    """The time constant with which peak_ewma's peaks decay; 10 s unless given."""
    probe_path: Annotated[str, Field(pattern="^/")] | None = None
    """Where prequal asks an endpoint for its load; "/.steelyard/load" unless given."""
    probe_timeout: Duration | None = None
    """How long the answer may take; 50 ms unless given."""
    probes_per_request: Annotated[float, Field(strict=False, gt=0, le=16)] | None = None
    """How many endpoints are asked for each request; a fraction is added up. 3.0 unless given."""
    probe_rate_max: Count | None = None
    """Questions a second, for the whole pool; 1000 unless given."""
    probes_in_flight_max: Count | None = None
    """Questions that are under way at once; 64 unless given."""
    q_rif: Annotated[float, Field(strict=False, ge=0, le=1)] | None = None
    """The quantile of requests in flight above which an endpoint counts as busy; 2^-0.25 unless given."""

    _score: Compiled | None = PrivateAttr(None)
    _interpreted: ScoreFunction | None = PrivateAttr(None)

    @property
    def score(self) -> Compiled | None:
        """The compiled function of a policy written in Python."""
        return self._score

    @property
    def interpreted(self) -> ScoreFunction | None:
        """The function of a policy written in Python that is not compiled."""
        return self._interpreted

    @model_validator(mode="after")
    def find(self, info: ValidationInfo) -> Self:
        """Finds the function of a policy written in Python, and compiles it where that is wanted."""
        if self._score is not None or self._interpreted is not None:
            return self
        self.refuse_strange_settings()
        if not is_score(self.name):
            return self
        folder = folder_of(info)
        try:
            if self.python_policy == "interpreted":
                self._interpreted = find_score(self.name, folder)
            else:
                self._score = compile_score(self.name, folder)
        except ScoreError as error:
            raise refuse(
                error.message, error.hint or "see the manual on policies written in Python"
            ) from error
        return self

    def refuse_strange_settings(self) -> None:
        if self.choices is not None and not is_score(self.name):
            raise refuse(
                f'{self.name} has no "choices"', "p2c compares two, least_request all of a small pool"
            )
        if self.python_policy is not None and not is_score(self.name):
            raise refuse(f"{self.name} is not written in Python", "take python_policy out")
        interpreted = self.python_policy == "interpreted"
        if self.refresh is not None and not interpreted:
            raise refuse(
                "only an interpreted policy is refreshed", 'write python_policy = "interpreted" beside it'
            )
        if self.choices is not None and interpreted:
            raise refuse('an interpreted policy has no "choices"', "its scores become weights")


def write_policy(policy: PolicyTable) -> object:
    settings = policy.model_dump(mode="json", exclude_none=True)
    return policy.name if settings.keys() == {"name"} else settings


Policy = Annotated[
    PolicyTable,
    BeforeValidator(
        table_with("name", "the name of a policy", '"round_robin"'),
        json_schema_input_type=PolicyName | ScoreName | PolicyTable,
    ),
    PlainSerializer(write_policy),
]
