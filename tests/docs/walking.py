"""Types the commands of a page as a reader does, against a region and BMCs of its own."""

import shutil
from contextlib import ExitStack
from pathlib import Path

from mulligan.embedded.ports import free_ports
from mulligan.embedded.region import init_region
from tests.docs.pages import ROOT, commands
from tests.docs.reader import Shell, check, environment, home, running

LONG_RUNNING = ("mulligan up", "sushy-emulator")
"""What a reader leaves running in a terminal, until Ctrl-C."""
PORT = "127.0.0.1:8100"
"""Where the pages' BMCs are; here, they get a free port."""


def walk(page: Path) -> None:
    """Run a page from its first command to its last; raise AssertionError where it is not true."""
    text = page.read_text()
    with ExitStack() as stack:
        folder = stack.enter_context(home())
        address = f"127.0.0.1:{free_ports(1)[0]}"
        place = _checkout(folder, address)
        variables = environment(folder)
        init_region(folder / ".local" / "state" / "mulligan", "local", usual_ports=False)
        shell = stack.enter_context(Shell.opened(place, variables))
        for shown in commands(text.replace(PORT, address)):
            if shown.command.startswith(LONG_RUNNING):
                stack.enter_context(running(shown, place, variables))
            else:
                check(shown, *shell.run(shown.command))


def _checkout(folder: Path, address: str) -> Path:
    place = folder / "checkout"
    shutil.copytree(ROOT / "docs" / "tour", place / "docs" / "tour")
    for file in (place / "docs" / "tour").iterdir():
        port = address.rpartition(":")[2]
        file.write_text(file.read_text().replace(PORT, address).replace("= 8100", f"= {port}"))
    (place / "build").mkdir()
    return place
