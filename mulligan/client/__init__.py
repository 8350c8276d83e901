"""The smart client: one address in, the whole control plane out.

``Client`` finds the services through the Catalog, balances over their instances and fails over,
logs in and keeps its tokens fresh, repeats what is safe under the same request id, waits out
restarts, carries positions so that it reads what it wrote, and keeps names that were looked up for
a minute. It decides nothing: no cache of objects, no rules of the domain.
"""

from typing import TYPE_CHECKING, Any

from mulligan.client.context import Context, Settings, load_settings, save_context

if TYPE_CHECKING:
    from mulligan.client.client import Client

__all__ = ["Client", "Context", "Settings", "load_settings", "save_context"]


def __getattr__(name: str) -> Any:
    """Import the client itself on first use: it brings in gRPC, which ``--help`` has no use for."""
    if name == "Client":
        from mulligan.client.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
