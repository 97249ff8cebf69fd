"""The proxies that are compared, each with the same features.

Every one but the relay keeps its connections to the two endpoints alive, sends the request to the endpoint
with the fewest requests, sets X-Forwarded-For, -Proto and -Host, Forwarded and X-Request-Id, gives `Host` on
as it came, has time limits, writes no log and uses one worker. Health checks are on where the product has
them (nginx has none of its own). Limits on requests per connection are lifted, so that nobody reconnects in
the middle.
"""

from pathlib import Path

from harness.products.base import Product
from harness.products.caddy import Caddy
from harness.products.envoy import Envoy
from harness.products.haproxy import Haproxy
from harness.products.nginx import Nginx
from harness.products.relay import Relay
from harness.products.steelyard import Steelyard


def every(binaries: Path) -> list[Product]:
    """All of them, Steelyard last."""
    return [Relay(binaries), Nginx(), Haproxy(), Envoy(), Caddy(), Steelyard()]
