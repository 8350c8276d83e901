"""Digests of what seeds wrote: ``python -m tests.simulation.digests SEED…``."""

import hashlib
import sys

from .run import simulate


def digest(seed: int) -> str:
    """Return a digest of every byte that a seed wrote, and of when it did."""
    disk = simulate(seed).disk
    found = hashlib.sha256()
    for raw, at in zip(disk.all, disk.written_at, strict=True):
        found.update(raw.value + repr(at).encode())
    return found.hexdigest()


if __name__ == "__main__":
    for one in sys.argv[1:]:
        sys.stdout.write(f"{digest(int(one))}\n")
