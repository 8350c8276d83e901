"""The browser that these tests drive, and how it gets here: ``python -m tests.browser.parts``."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHROMIUM = Path("/usr/bin/chromium")
PACKAGES = ("chromium", "fonts-dejavu-core")
_LIMIT_S = 900


def prepare() -> str:
    """Bring the browser here; return what is wrong where that fails."""
    if CHROMIUM.exists():
        return ""
    command = ("apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES)
    if not shutil.which("apt-get"):
        return f"{CHROMIUM} is not there, and this is no Debian; install Chromium"
    if os.geteuid() != 0:
        return f"{CHROMIUM} is not there; as root: {' '.join(command)}"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (("apt-get", "update", "--quiet=2"), command):
        sys.stdout.write(f"$ {' '.join(words)}\n")
        sys.stdout.flush()
        ended = subprocess.run(words, env=environment, timeout=_LIMIT_S, check=False)
        if ended.returncode:
            return f"{' '.join(words)} failed"
    return ""


def main() -> int:
    """Prepare, and say what is wrong where that fails."""
    problem = prepare()
    if problem:
        sys.stderr.write(f"{problem}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
