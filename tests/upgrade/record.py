"""Make the stored formats of the last release anew: ``python -m tests.upgrade.record``.

They are made by the code of that release, and committed under ``data/<version>``. Do so once, when
a release was made: what is there already is never overwritten.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.upgrade.release import unpack

DATA = Path(__file__).parent / "data"


def main() -> None:
    """Record what the last release writes; refuse where that is recorded."""
    with tempfile.TemporaryDirectory() as folder:
        release = unpack(Path(folder))
        out = DATA / release.version
        out.mkdir(parents=True, exist_ok=False)
        subprocess.run(
            [sys.executable, str(Path(__file__).parent / "recording.py"), str(out)],
            cwd=release.tree,
            env={**os.environ, "PYTHONPATH": str(release.tree)},
            check=True,
        )


if __name__ == "__main__":
    main()
