"""A region whose services are started and stopped one by one, any number of each.

Processes of this release are forked from one that has imported it all; those of another tree are
started by its own command line.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import anyio
import msgspec

from mulligan.client import Client
from mulligan.client.context import Context
from mulligan.config import Address, load
from mulligan.embedded.ports import free_ports
from mulligan.embedded.process import die_with
from mulligan.embedded.ready import serving
from mulligan.embedded.region import (
    RegionPaths,
    embedded_etcd,
    embedded_postgres,
    init_region,
)
from mulligan.embedded.up import context_of
from mulligan.services import process as service_process
from mulligan.services.serve import SERVICES

READY_S = 40.0
STOP_S = 30.0
_REGION = "roll"
_INIT = """
from pathlib import Path
from mulligan.embedded.region import init_region
init_region(Path({folder!r}), {region!r}, usual_ports=False)
"""
_LOOK_S = 3.0

_forks = get_context("forkserver")
_forks.set_forkserver_preload(["mulligan.services.serve", "uvloop"])


class Running(Protocol):
    """A process that was started."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def kill(self) -> None:
        """Send SIGKILL."""

    def ended(self, within: float) -> int | None:
        """Wait for its end; return its exit code, None when that did not come."""


class Forked:
    """A process of this release."""

    def __init__(self, service: str, config: Path, settings: Mapping[str, str], log: Path) -> None:
        arguments = (service, config, settings, log)
        self._process = _forks.Process(target=_serve, args=arguments, name=log.stem, daemon=True)
        self._process.start()
        self.terminate = self._process.terminate
        self.kill = self._process.kill

    def ended(self, within: float) -> int | None:
        """Wait for its end."""
        self._process.join(within)
        return self._process.exitcode


class Commanded:
    """A process of another tree's command line."""

    def __init__(
        self, service: str, config: Path, settings: Mapping[str, str], log: Path, tree: Path
    ) -> None:
        command = ("-m", "mulligan.cli.main", "serve", service, "--config", str(config))
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=tree,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={"PATH": os.environ["PATH"], "HOME": str(config.parent), **settings},
            )
        self.terminate = self._process.terminate
        self.kill = self._process.kill

    def ended(self, within: float) -> int | None:
        """Wait for its end."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            return None


def _serve(service: str, config: Path, settings: Mapping[str, str], log: Path) -> None:
    """Be an instance of this release, in a process that was forked for it."""
    die_with(os.getppid(), signal.SIGKILL)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.exit(service_process.run(service, load(config, settings)))


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a service, and where it listens."""

    service: str
    address: Address
    process: Running
    release: str
    log: Path

    @property
    def told(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


class Deployment:
    """The services of a region that runs on an etcd and a Postgres of its own."""

    def __init__(self, paths: RegionPaths) -> None:
        self.paths = paths
        self.config = load(paths.config, {})
        listen = msgspec.structs.asdict(self.config.listen).values()
        self._configured = {one.port for one in (*listen, self.config.media.listen)}
        self.running: list[Instance] = []

    @property
    def context(self) -> Context:
        """How the administrator reaches it: by addresses of what runs now."""
        places = tuple(str(one.address) for one in self.running)
        return msgspec.structs.replace(context_of(self.config, self.paths), address=places)

    def client(self, patience: float = 30.0, project: str = "") -> Client:
        """Return a client of the administrator's, in a project if one is named."""
        secret = self.paths.admin_secret.read_text().strip()
        context = msgspec.structs.replace(self.context, project=project)
        return Client(context, secret=secret, patience=patience)

    async def start(self, service: str, tree: Path | None = None, release: str = "") -> Instance:
        """Start one more instance of a service, of another release's ``tree`` if one is given.

        Return when it serves.
        """
        instance = self._spawn(service, tree, release)
        self.running.append(instance)
        deadline = anyio.current_time() + READY_S
        while anyio.current_time() < deadline and instance.process.ended(0) is None:
            with anyio.move_on_after(_LOOK_S):
                await serving(instance.address, self.config)
                return instance
        raise RuntimeError(f"{service} does not serve:\n{instance.told}")

    async def stop(self, instance: Instance) -> None:
        """Send an instance SIGTERM and return when it has ended, as it should."""
        self.running.remove(instance)
        instance.process.terminate()
        code = await anyio.to_thread.run_sync(instance.process.ended, STOP_S)
        if code is None:
            instance.process.kill()
        if code != 0:
            raise RuntimeError(f"{instance.service} was to stop and ended by {code}")

    async def stop_all(self) -> None:
        """Stop whatever runs."""
        async with anyio.create_task_group() as tasks:
            for instance in tuple(self.running):
                tasks.start_soon(self.stop, instance)

    async def start_all(
        self, services: Sequence[str] = SERVICES, tree: Path | None = None, release: str = ""
    ) -> None:
        """Start one instance of each."""
        async with anyio.create_task_group() as tasks:
            for service in services:
                tasks.start_soon(self.start, service, tree, release)

    def of(self, service: str) -> list[Instance]:
        """Return the instances of a service, the oldest first."""
        return [one for one in self.running if one.service == service]

    def _spawn(self, service: str, tree: Path | None, release: str) -> Instance:
        port, media = free_ports(2, avoid=self._configured)  # two keys may not name one address
        address = Address(f"127.0.0.1:{port}")
        settings = {f"MULLIGAN_LISTEN_{service.upper()}": str(address)}
        if service == "executor":
            settings["MULLIGAN_MEDIA_LISTEN"] = f"127.0.0.1:{media}"
            settings["MULLIGAN_MEDIA_BASE_URL"] = f"https://127.0.0.1:{media}"
            settings["MULLIGAN_MEDIA_CACHE_DIR"] = str(self.paths.state_dir / f"cache-{media}")
        log = self.paths.log(f"{service}-{port}")
        given = (service, self.paths.config, settings, log)
        process = Forked(*given) if tree is None else Commanded(*given, tree)
        return Instance(service=service, address=address, process=process, release=release, log=log)


@asynccontextmanager
async def deployment(folder: Path, tree: Path | None = None) -> AsyncIterator[Deployment]:
    """Hold a region's etcd and Postgres below ``folder``, and what is started on them.

    The release of ``tree`` sets it up, if one is given.
    """
    paths = RegionPaths(state_dir=folder / "r")
    if tree is None:
        init_region(paths.state_dir, _REGION, usual_ports=False)
    else:
        code = _INIT.format(folder=str(paths.state_dir), region=_REGION)
        await anyio.run_process([sys.executable, "-c", code], cwd=tree)
    deployed = Deployment(paths)
    etcd, postgres = embedded_etcd(deployed.config), embedded_postgres(deployed.config)
    with ExitStack() as stack:
        etcd.start()  # not in another thread, whose end would be theirs
        stack.callback(etcd.stop)
        postgres.start()
        stack.callback(postgres.stop)
        try:
            yield deployed
            await deployed.stop_all()
        finally:
            for instance in deployed.running:
                instance.process.kill()


@contextmanager
def short_folder() -> Iterator[Path]:
    """Hold a folder with a short path, as sockets want it."""
    folder = Path(tempfile.mkdtemp(prefix="mlg-"))
    folder.chmod(0o711)  # as root, Postgres runs as another user, who must pass through
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
