"""A seed is the same every time: in this process, and in another one that hashes otherwise."""

import os
import subprocess
import sys

import pytest

from .digests import digest

SEEDS = (4, 7, 11, 24)


def elsewhere(hash_seed: str) -> list[str]:
    """Return the seeds' digests from a process of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.digests", *map(str, SEEDS)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.split()


@pytest.mark.parametrize("hash_seed", ["1", "42"])
def test_a_seed_writes_the_same_bytes_in_another_process(hash_seed: str) -> None:
    assert elsewhere(hash_seed) == [digest(seed) for seed in SEEDS]
