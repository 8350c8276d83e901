"""Live through seeds: ``python -m tests.simulation [--seed N] [--seeds COUNT] [--first N]``."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from .run import Failed, described, simulate

SHOWN = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one seed and tell all that happened, or many and tell which failed."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=_given("MULLIGAN_SEED"))
    parser.add_argument("--seeds", type=int, default=_given("MULLIGAN_SEEDS") or 5000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _one(options.seed)
    return _many(range(options.first, options.first + options.seeds))


def tell(text: str) -> None:
    """Write a line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _given(name: str) -> int | None:
    return int(os.environ[name]) if os.environ.get(name) else None


def _one(seed: int) -> int:
    try:
        world = simulate(seed)
    except Failed as failed:
        tell(described(failed.world))
        tell(f"\nseed {seed} failed:")
        for problem in failed.problems:
            tell(f"  {problem}")
        return 1
    tell(described(world))
    tell(f"\nseed {seed} is well: {len(world.disk.all)} entries, {len(world.history)} requests")
    return 0


def _many(seeds: range) -> int:
    began, failures, entries = time.perf_counter(), 0, 0
    for count, seed in enumerate(seeds, start=1):
        try:
            entries += len(simulate(seed).disk.all)
        except Failed as failed:
            failures += 1
            tell(f"{failed}\n  alone: nox -s simulate -- --seed {seed}")
        if count % 500 == 0:
            tell(f"{count} seeds, {failures} failed")
    took = time.perf_counter() - began
    tell(f"{len(seeds)} seeds, {entries} entries, {failures} failed, {took:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
