"""The process tree of ``mulligan up``: fork, watch, restart, and stop; leave nothing behind.

One synchronous, single-threaded parent imports the heavy modules once and forks each service, so
they share its memory and start at once. The kernel ends the children if the parent is killed.
"""

import fcntl
import gc
import importlib
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import msgspec
from setproctitle import setproctitle

from mulligan.embedded.process import Command, adopt_orphans, die_with, how_ended, last_error
from mulligan.errors import FailedPrecondition, MulliganError

FIRST_DELAY = 0.1
LONGEST_DELAY = 10.0
STEADY_AFTER = 10.0
"""A child that lived for this many seconds is restarted without added delay."""
LOG_BYTES = 16 * 2**20
"""A child's log that is longer is put aside, as ``.1``, when the child starts."""
_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_SIGNALS = _STOP_SIGNALS | {signal.SIGCHLD}

_log = logging.getLogger(__name__)


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the tree: ``run`` is called in it, and what it returns is its exit code."""

    name: str
    run: Callable[[], int]
    stop_signal: int = signal.SIGTERM
    outlives_others: bool = False
    """It is stopped only when the children without this are gone."""
    ends_all: bool = False
    """It has the terminal; it is not restarted: when it ends, all end, with its exit code."""
    once: bool = False
    """It has the terminal, and is not restarted once it has ended well."""


def program(name: str, command: Callable[[], Command], stop_signal: int = signal.SIGTERM) -> Child:
    """Make a child of a server such as etcd; ``command`` is called in it, before each start."""

    def run() -> NoReturn:
        command().become(os.getppid())

    return Child(name=name, run=run, stop_signal=stop_signal, outlives_others=True)


class AlreadyRunning(FailedPrecondition):
    """Another supervisor has this state folder."""


class Supervisor:
    """Runs ``children`` until a signal, or a child that ``ends_all``; owns all child processes.

    Logs go to ``<state_dir>/logs/<name>.log`` (or standard error if not ``log_files``), process
    ids to ``<state_dir>/run/<name>.pid``. Each child has ``patience`` seconds to stop. ``before``
    is called when the folder is ours and nothing runs yet; what it raises, ``run`` does.
    """

    def __init__(
        self,
        children: Sequence[Child],
        state_dir: Path,
        *,
        preload: Sequence[str] = (),
        patience: float = 10.0,
        log_files: bool = True,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._children = {child.name: child for child in children}
        self._logs = state_dir / "logs"
        self._pids = state_dir / "run"
        self._preload = preload
        self._patience = patience
        self._log_files = log_files
        self._before = before
        self._running: dict[int, tuple[Child, float]] = {}
        self._failures: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._exit_code: int | None = None
        self._lock_fd = -1
        self._mask: set[signal.Signals] = set()

    def run(self) -> int:
        """Run until the end and return the exit code; nothing it started is left then.

        Raise AlreadyRunning, or RuntimeError when threads run here, which a fork would break.
        """
        for module in self._preload:
            importlib.import_module(module)
        threads = len(os.listdir("/proc/self/task"))
        if threads != 1:
            raise RuntimeError(f"{threads} threads run in the supervisor; a fork loses all but one")
        for folder in (self._logs, self._pids):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock(), _blocked_signals() as mask:
            self._mask = mask
            self._before()
            adopt_orphans()
            gc.collect()
            gc.freeze()
            try:
                for child in self._children.values():
                    self._start(child)
                self._watch()
            finally:
                self._stop_all()
        return self._exit_code or 0

    def _watch(self) -> None:
        while self._exit_code is None:
            now = time.monotonic()
            for name in [name for name, due in self._due.items() if due <= now]:
                del self._due[name]
                self._start(self._children[name])
            wait = min([due - now for due in self._due.values()], default=60.0)
            taken = _next_signal(max(0.0, wait))
            if taken in _STOP_SIGNALS:
                if taken == signal.SIGINT:
                    _say("\nstopping; Ctrl-C again does not wait for what is under way\n")
                return
            for child, code, lived in self._reap():
                self._plan_restart(child, code, lived)

    def _plan_restart(self, child: Child, code: int, lived: float) -> None:
        if child.ends_all:
            self._exit_code = code if code >= 0 else 128 - code
            return
        if child.once and code == 0:
            return
        failures = 0 if lived >= STEADY_AFTER else self._failures.get(child.name, 0)
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2**failures)
        failures += 1
        self._failures[child.name] = failures
        self._due[child.name] = time.monotonic() + delay
        if failures & (failures - 1):
            return  # the 1st, 2nd, 4th, 8th … time in a row is told
        path = self._log_path(child) if self._log_files else None
        _log.warning(
            "%s %s after %.1f s%s%s; it starts again in %.1f s; see %s",
            child.name,
            how_ended(code),
            lived,
            f", {failures} times in a row" if failures > 1 else "",
            last_error(path) if path is not None and code > 0 else "",
            delay,
            path or "above",
        )

    def _start(self, child: Child) -> None:
        parent = os.getpid()
        _say("")
        try:
            pid = os.fork()
        except OSError as error:  # the host has too many processes, or no memory, for now
            _log.warning("%s cannot be started: %s", child.name, error.strerror)
            self._due[child.name] = time.monotonic() + LONGEST_DELAY
            return
        if pid == 0:
            self._be(child, parent)
        self._running[pid] = child, time.monotonic()
        try:
            (self._pids / f"{child.name}.pid").write_text(f"{pid}\n")
        except OSError as error:  # a full disk ends no region
            _log.warning("the process id of %s is not written: %s", child.name, error.strerror)

    def _be(self, child: Child, parent: int) -> NoReturn:
        """Live as the child, in the fork; nothing of the parent's stack may run on."""
        code = 1
        try:
            die_with(parent, signal.SIGKILL)
            os.setsid()
            os.close(self._lock_fd)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            self._redirect(child)
            setproctitle(f"mulligan: {child.name}")
            code = child.run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except KeyboardInterrupt:
            code = 130
        except MulliganError as error:
            sys.stderr.write(f"error: {error.message}\n")
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _redirect(self, child: Child) -> None:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        if child.ends_all or child.once or not self._log_files:
            return
        path = self._log_path(child)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)

    def _log_path(self, child: Child) -> Path:
        return self._logs / f"{child.name}.log"

    def _reap(self) -> Iterator[tuple[Child, int, float]]:
        """Yield each of our children that has ended; reap adopted orphans on the way."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._running:
                child, started = self._running.pop(pid)
                with suppress(OSError):
                    (self._pids / f"{child.name}.pid").unlink()
                code = os.waitstatus_to_exitcode(status)
                yield child, code, time.monotonic() - started

    def _stop_all(self) -> None:
        patience = self._patience
        for outlives in (False, True):
            pids = [p for p, (c, _) in self._running.items() if c.outlives_others is outlives]
            for pid in pids:
                _send(pid, self._running[pid][0].stop_signal)
            if not self._await_end(pids, patience):
                patience = 0.0
            for pid in [pid for pid in pids if pid in self._running]:
                _log.warning("%s did not stop in time and is killed", self._running[pid][0].name)
                _send_group(pid, signal.SIGKILL)
            self._await_end(pids, 10.0)
        self._kill_orphans()

    def _await_end(self, pids: Sequence[int], patience: float) -> bool:
        """Wait until ``pids`` have ended; return False if somebody asks us to be quicker."""
        deadline = time.monotonic() + patience
        list(self._reap())
        while any(pid in self._running for pid in pids):
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            if _next_signal(left) in _STOP_SIGNALS:
                return False
            list(self._reap())
        return True

    def _kill_orphans(self) -> None:
        """Kill what our children left running; such processes are our own children by now."""
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            if not children:
                return
            for pid in map(int, children):
                _send(pid, signal.SIGKILL)
            _next_signal(0.1)
            list(self._reap())

    @contextmanager
    def _lock(self) -> Iterator[None]:
        path = self._pids / "supervisor.pid"
        self._lock_fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.read(self._lock_fd, 32).decode().strip()
                raise AlreadyRunning(
                    f"process {pid} runs on {path.parent.parent} already; stop it: kill {pid}"
                ) from None
            os.ftruncate(self._lock_fd, 0)
            os.write(self._lock_fd, f"{os.getpid()}\n".encode())
            yield
            path.unlink(missing_ok=True)
        finally:
            os.close(self._lock_fd)


@contextmanager
def _blocked_signals() -> Iterator[set[signal.Signals]]:
    """Hold our signals back, to be taken one by one by ``_next_signal``; yield the old mask."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield {signal.Signals(number) for number in mask}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _say(text: str) -> None:
    """Write to whoever started us, with what is written already; nobody's absence ends a region."""
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.write(text)
        sys.stderr.flush()


def _next_signal(timeout: float) -> int | None:
    taken = signal.sigtimedwait(_SIGNALS, timeout)
    return None if taken is None else taken.si_signo


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _send_group(pid: int, number: int) -> None:
    """Signal a child and all of its process group, which it leads since its first steps."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        _send(pid, number)
