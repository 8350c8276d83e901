"""A release that has renamed a field reads what the one before wrote: a program of its own.

Its upcaster is there before anything else is imported, as it is in a release.
"""

import sys
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec

from mulligan.events import codec

TYPE, BEFORE, NOW = "claim.made", "tenant", "project"


def renamed(data: dict[str, Any]) -> dict[str, Any]:
    """Bring an event of version 1 to version 2."""
    return {NOW if name == BEFORE else name: value for name, value in data.items()}


def main() -> None:
    """Print what this release makes of a log: of the file, into the database that are named."""
    cast(dict[Any, Any], codec.UPCASTERS)[TYPE, 1] = renamed
    from mulligan.config import Dsn
    from tests.upgrade.as_read import report

    found = anyio.run(report, Path(sys.argv[1]), Dsn(sys.argv[2]))
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
