"""The browser that these tests drive, and how it gets here: ``python -m tests.browser.parts``."""

import sys
from pathlib import Path

from tests.bringing import install, main

CHROMIUM = Path("/usr/bin/chromium")
PACKAGES = ("chromium", "fonts-dejavu-core")


def prepare() -> None:
    """Bring the browser here; raise PartsMissing where that fails."""
    if not CHROMIUM.exists():
        install(PACKAGES, Path.cwd())


if __name__ == "__main__":
    sys.exit(main(prepare))
