"""Free ports on the loopback address for the embedded servers."""

import errno
import random
import socket
from collections.abc import Collection, Sequence

from mulligan.config import Address

LOOPBACK = "127.0.0.1"
_RANGE = range(20_000, 32_000)
"""Below Linux's range for outgoing connections, so none takes a port between choice and use."""
_TRIES = 1000


def free_ports(count: int, avoid: Collection[int] = ()) -> Sequence[int]:
    """Return ``count`` different ports that nothing listens on; raise OSError if there are none."""
    found: list[int] = []
    for _ in range(_TRIES):
        if len(found) == count:
            return found
        port = random.choice(_RANGE)
        if port not in found and port not in avoid and is_free(port):
            found.append(port)
    raise OSError(f"found only {len(found)} of {count} free ports on {LOOPBACK}")


def is_free(port: int) -> bool:
    """Tell whether this process could listen on ``port`` of the loopback address now."""
    return _bind(socket.AF_INET, (LOOPBACK, port)) is None


def can_listen(address: Address) -> bool:
    """Tell whether nobody listens on an address; one that is not of this host counts as free."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        return True
    return all(_bind(family, at) != errno.EADDRINUSE for family, _, _, _, at in found)


def _bind(family: int, at: tuple[object, ...]) -> int | None:
    """Bind a socket for a moment; return the error's number if that fails."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(at)
        except OSError as error:
            return error.errno
        return None
