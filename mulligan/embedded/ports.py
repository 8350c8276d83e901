"""Free ports on the loopback address for the embedded servers."""

import random
import socket
from collections.abc import Collection, Sequence

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
    """Tell whether this process could listen on ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
