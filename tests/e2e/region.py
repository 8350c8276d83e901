"""A region that runs as a user runs it, by `mulligan up`, and what tests do to it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import msgspec
from grpclib.client import Channel

from mulligan.client import Client
from mulligan.client.context import Context
from mulligan.config import Config, load
from mulligan.embedded.ready import all_serving
from mulligan.embedded.region import RegionPaths, init_region
from mulligan.embedded.up import context_of
from mulligan.proto import v1
from mulligan.services.serve import SERVICES
from mulligan.tls import client_context
from tests.embedded.processes import alive, descendants

MULLIGAN = (sys.executable, "-m", "mulligan.cli.main")
READY_S = 60.0


async def until(holds: Callable[[], Awaitable[object]], what: str, within: float = 30.0) -> None:
    """Return as soon as ``holds`` does; fail saying ``what`` did not happen in time."""
    deadline = time.monotonic() + within
    while not await holds():
        assert time.monotonic() < deadline, f"not in {within:g} s: {what}"
        await anyio.sleep(0.05)


def using(folder: Path) -> dict[int, str]:
    """Return the processes that have a file of ``folder`` open or name it, but this one."""
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            files = [os.readlink(fd) for fd in (process / "fd").iterdir()]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if pid != os.getpid() and any(str(folder) in text for text in (words, *files)):
            found[pid] = words
    return found


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short path, as sockets want it; no process may use it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="mlg-"))
    folder.chmod(0o711)  # as root, Postgres runs as another user, who must pass through
    try:
        yield folder
    finally:
        left = using(folder)
        shutil.rmtree(folder)
    assert not left


class RunningRegion:
    """A region in ``folder`` with ports of its own; ``start`` and ``stop`` are `mulligan up`'s.

    ``settings`` are variables of its processes, which go before what its configuration says.
    """

    def __init__(
        self, folder: Path, name: str = "e2e", *, settings: Mapping[str, str] | None = None
    ) -> None:
        self.paths: RegionPaths = init_region(folder / "region", name, usual_ports=False)
        self.config: Config = load(self.paths.config, {})
        self.environment: Mapping[str, str] = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "MULLIGAN_CONFIG": str(folder / "client.toml"),
            "MULLIGAN_STATE": str(self.paths.state_dir),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "COLUMNS": "120",
            **(settings or {}),
        }
        self.admin_secret = self.paths.admin_secret.read_text().strip()
        self._folder = folder
        self._up: subprocess.Popen[bytes] | None = None
        self._clients: list[Client] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.stop()

    async def start(self) -> None:
        """Run `mulligan up` and return when every service serves."""
        self._up = self.spawn("up")
        try:
            await all_serving(self.config, READY_S)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ask `mulligan up` to end; fail unless it does so well and leaves no process."""
        up, self._up = self._up, None
        for client in self._clients:
            client.close()
        self._clients.clear()
        if up is None:
            return
        below = descendants(up.pid)
        up.terminate()
        try:
            code = await anyio.to_thread.run_sync(up.wait, 30)
        except subprocess.TimeoutExpired:
            up.kill()
            raise
        assert code == 0
        assert not [pid for pid in below if alive(pid)]
        assert not using(self.paths.state_dir)

    def spawn(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a command line of this region's user; the caller waits for its end."""
        with (self._folder / f"{words[0]}.out").open("ab") as out:
            return subprocess.Popen(
                [*MULLIGAN, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**self.environment, **more},
            )

    def pid(self, name: str) -> int:
        """Return the process id of a part: a service, etcd or postgres; 0 while it is down."""
        try:
            return int((self.paths.state_dir / "run" / f"{name}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    @property
    def supervisor(self) -> int:
        """The process id of `mulligan up`; 0 while it does not run."""
        return self._up.pid if self._up is not None else 0

    async def fell(self) -> None:
        """SIGKILL `mulligan up`, which ends all below it, and run it again as a user would."""
        assert self._up is not None
        self._up.kill()
        await anyio.to_thread.run_sync(self._up.wait, 10)
        await self.start()

    async def kill(self, name: str) -> None:
        """SIGKILL a part and return when its next incarnation serves."""
        old = self.pid(name)
        assert old, f"{name} does not run"
        os.kill(old, signal.SIGKILL)

        async def back() -> bool:
            return self.pid(name) not in {0, old}

        await until(back, f"{name} is started again", 20)
        if name in SERVICES:
            await all_serving(self.config, READY_S)
        else:
            await self.answering()

    async def answering(self) -> None:
        """Return when commands and reads work: etcd, Postgres and the projector are there."""
        client = self.client(patience=READY_S)
        name = f"probe-{time.monotonic_ns()}"
        await client.resource.create_group(v1.CreateGroupRequest(name=name))
        await client.resource.list_groups(v1.ListGroupsRequest())
        self._clients.remove(client)
        client.close()

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop a part and all below it with SIGSTOP while the block runs."""
        pid = self.pid(name)
        assert pid, f"{name} does not run"
        pids = [pid, *descendants(pid)]
        for one in pids:
            os.kill(one, signal.SIGSTOP)
        try:
            yield
        finally:
            for one in pids:
                os.kill(one, signal.SIGCONT)

    @asynccontextmanager
    async def held_down(self, name: str) -> AsyncIterator[None]:
        """Have a part killed, and nobody to start it again, while the block runs."""
        assert self._up is not None
        pid = self.pid(name)
        below = [pid, *descendants(pid)]
        os.kill(self._up.pid, signal.SIGSTOP)
        try:
            os.kill(pid, signal.SIGKILL)

            async def gone() -> bool:
                return not any(alive(one) for one in below)

            await until(gone, f"{name} is gone", 10)
            yield
        finally:
            os.kill(self._up.pid, signal.SIGCONT)
            await self.answering()

    @property
    def context(self) -> Context:
        """How the administrator reaches the region."""
        return context_of(self.config, self.paths)

    def client(
        self,
        account: str = "admin",
        secret: str = "",
        project: str = "",
        *,
        patience: float = 15.0,
    ) -> Client:
        """Return a client for an account, the administrator by default; ``stop`` closes it."""
        context = msgspec.structs.replace(self.context, account=account, project=project)
        client = Client(context, secret=secret or self.admin_secret, patience=patience)
        self._clients.append(client)
        return client

    async def tenant(self, project: str, account: str, role: str = "member") -> Client:
        """Make a project and an account with a role in it; return the account's client."""
        admin = self.client()
        secret = f"{account}-{project}-secret"
        await admin.iam.create_project(v1.CreateProjectRequest(name=project))
        await admin.iam.create_account(v1.CreateAccountRequest(name=account, secret=secret))
        binding = v1.RoleBinding(role=role, project=project)
        await admin.iam.bind_role(v1.BindRoleRequest(account=account, binding=binding))
        return self.client(account, secret, project)

    def channel(self, service: str) -> Channel:
        """Return a bare connection to a service; the caller closes it."""
        # every service answers the catalog
        address = getattr(self.config.listen, "iam" if service == "catalog" else service)
        assert self.config.tls.ca is not None
        return Channel(address.host, address.port, ssl=client_context(self.config.tls.ca))

    async def cli(
        self, *words: str, within: float = 60.0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end, as a user types it."""
        with anyio.fail_after(within):
            environment = {**self.environment, **more}
            ended = await anyio.run_process([*MULLIGAN, *words], env=environment, check=False)
        out, err = ended.stdout.decode(), ended.stderr.decode()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(list(words), ended.returncode, out, err)
