"""Who looks after which object: rendezvous hashing over the live instances of a service.

When an instance comes or goes, only the objects that it wins or held change hands. Two instances
may disagree for a moment; the log decides between them.
"""

import hashlib
from collections.abc import Iterable


def owner_of(key: str, instances: Iterable[str]) -> str:
    """Return the instance that looks after ``key``; empty when there is none."""
    return max(instances, key=lambda i: _weight(i, key), default="")


def _weight(instance: str, key: str) -> tuple[bytes, str]:
    return hashlib.blake2b(f"{instance}\0{key}".encode(), digest_size=8).digest(), instance
