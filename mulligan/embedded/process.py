"""A program run as a child that cannot outlive its parent, even when that is killed."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import msgspec

from mulligan.errors import MulliganError

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a program runs as when we are root.

    ``search`` lets it pass folders that are closed to it, such as a root-owned home above its
    binaries; it holds no other privilege.
    """

    uid: int
    gid: int
    search: bool = False


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A program to run. ``stop_signal`` asks it to end; it gets it too when its parent dies."""

    argv: tuple[str, ...]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    account: Account | None = None
    stop_signal: int = signal.SIGTERM

    def become(self, parent: int) -> NoReturn:
        """Turn this process, a fresh fork of ``parent``, into the program."""
        self.enter(parent)
        if self.cwd is not None:
            os.chdir(self.cwd)
        env = os.environ if self.env is None else self.env
        os.execve(self.argv[0], self.argv, dict(env))

    def enter(self, parent: int) -> None:
        """Give up rights and tie this process to its parent's life."""
        if self.account is not None:
            _drop_to(self.account)
        die_with(parent, self.stop_signal)


class StartFailed(MulliganError):
    """An embedded server did not come up; the message ends with its log's last lines."""


class Process:
    """A running ``Command``, with standard output and error appended to ``log``."""

    def __init__(self, command: Command, log: Path) -> None:
        parent = os.getpid()
        self._command = command
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                command.argv,
                env=command.env,
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=lambda: command.enter(parent),
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended (negative: by that signal), or None while it runs."""
        return self._popen.poll()

    def stop(self, patience: float) -> None:
        """Ask it to end, wait up to ``patience`` seconds, then kill it; return when it is gone."""
        if self.exit_code is None:
            self._popen.send_signal(self._command.stop_signal)
            try:
                self._popen.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kill it with SIGKILL and return when it is gone."""
        if self.exit_code is None:
            self._popen.kill()
        self._popen.wait()


def await_ready(
    process: Process, ready: Callable[[], bool], *, name: str, log: Path, patience: float
) -> None:
    """Return once ``ready``; raise StartFailed if it exits first or takes over ``patience`` s."""
    deadline = time.monotonic() + patience
    while not ready():
        if process.exit_code is not None:
            raise StartFailed(f"{name} {how_ended(process.exit_code)} at once\n{last_lines(log)}")
        if time.monotonic() > deadline:
            process.kill()
            raise StartFailed(f"{name} was not ready in {patience:g} s\n{last_lines(log)}")
        time.sleep(0.01)


def how_ended(code: int) -> str:
    """Say in words what an exit code (negative: a signal) means."""
    if code >= 0:
        return f"exited with code {code}"
    return f"was killed by {signal.Signals(-code).name}"


def last_lines(log: Path, count: int = 12) -> str:
    """Return where a log is and its last lines, to go into an error."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        lines = []
    return "\n".join([f"the last lines of {log}:", *(f"  {line}" for line in lines)])


def last_error(log: Path) -> str:
    """Return ``: `` and what the last line of a log says went wrong; empty if it says nothing."""
    *_, line = ["", *last_lines(log, 1).splitlines()[1:]]
    _, found, said = line.strip().partition("error: ")
    return f": {said}" if found else ""


def die_with(parent: int, death_signal: int) -> None:
    """Have the kernel send this process ``death_signal`` when ``parent`` ends.

    It holds for the thread of the parent that forked; a change of user clears it, so it goes last.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Make this process the new parent of its descendants whose own parents end."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def reachable(path: Path, account: Account) -> bool:
    """Tell whether the account may pass every folder above ``path`` by its mode."""
    for folder in path.resolve().parents:
        status = folder.stat()
        shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
        if not status.st_mode >> shift & 1:
            return False
    return True


def _drop_to(account: Account) -> None:
    if account.search:
        _check(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    if account.search:
        _keep_search()


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapData(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def _keep_search() -> None:
    """Keep the one capability that passes closed folders, over exec; drop all the others.

    A container may lack the read-only one (CAP_DAC_READ_SEARCH) and have the wider one.
    """
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapData * 2)()
    _check(_libc.capget(ctypes.byref(header), data))
    held = data[0].permitted
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
        bit = 1 << capability
        if held & bit:
            data[0] = _CapData(bit, bit, bit)
            data[1] = _CapData(0, 0, 0)
            _check(_libc.capset(ctypes.byref(header), data))
            _check(
                _libc.prctl(
                    _PR_CAP_AMBIENT,
                    ctypes.c_ulong(_PR_CAP_AMBIENT_RAISE),
                    ctypes.c_ulong(capability),
                    ctypes.c_ulong(0),
                    ctypes.c_ulong(0),
                )
            )
            return


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
