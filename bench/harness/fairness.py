"""What must hold of a product for it to be compared with the others."""

from dataclasses import dataclass

from harness.products.base import FORWARDED_FIELDS, Product
from harness.scenarios import Scenario

# What TLS must have been agreed upon; the application protocol follows.
NEGOTIATED = "TLSv1_3 TLS13_AES_128_GCM_SHA256 X25519"

# Where sessions are resumed, the share of handshakes that may be full ones all the same.
FULL_SHARE_MAX = 0.01


class CannotServe(Exception):
    """A product does not do what a scenario asks of it; the message says what it did."""


class Unfair(Exception):
    """What was measured is not what was to be compared."""


@dataclass(frozen=True)
class Answer:
    """What an endpoint saw of a request, and what TLS was agreed upon for it and one more."""

    fields: dict[str, str]
    tls: dict[str, object] | None


def check(answer: Answer, product: Product, scenario: Scenario) -> None:
    """Looks at one request: the fields that all set, and what TLS was agreed upon."""
    front = scenario.front
    if product.parses and front.protocol != "tcp":
        missing = [field for field in FORWARDED_FIELDS if field not in answer.fields]
        if missing:
            raise Unfair(f"{product.name} does not set {', '.join(missing)}")
        if answer.fields["x-forwarded-proto"] != front.scheme:
            raise Unfair(f"{product.name} says that the request came over {answer.fields}")
    if answer.tls is None:
        return
    alpn = "h2" if front.protocol == "http2" else "http/1.1"
    agreed = f"{NEGOTIATED} {alpn}"
    if answer.tls["with"] != [agreed]:
        raise Unfair(f"{product.name} agreed on {answer.tls['with']} rather than {agreed}")
    if scenario.unit == "handshake" and bool(answer.tls["resumed"]) != front.resumes:
        raise Unfair(f"{product.name} {'resumed a session' if answer.tls['resumed'] else 'resumes none'}")


def check_handshakes(tls: dict[str, int], scenario: Scenario) -> None:
    """Looks at the counts of the load generator: full or resumed ones, tickets only where they belong."""
    if scenario.unit != "handshake":
        return
    if scenario.front.resumes and tls["full"] > FULL_SHARE_MAX * tls["resumed"]:
        raise Unfair(f"{tls['full']} handshakes were full and {tls['resumed']} resumed")
    if not scenario.front.resumes and (tls["resumed"] or tls["tickets"]):
        raise Unfair(f"{tls['resumed']} sessions were resumed, {tls['tickets']} tickets given")
