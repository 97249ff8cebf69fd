"""How a running instance is asked and steered: an HTTP API on a unix socket."""

__all__: list[str] = []
