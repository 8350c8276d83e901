"""`mulligan demo`: a whole region, an emulated fleet, and a walk through the product.

Every step is a command line as a user types it, run for real: etcd, Postgres, gRPC with TLS and
tokens, and BMCs served by sushy-emulator over HTTPS.
"""

import hashlib
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

import anyio
import pycdlib
import yaml

from mulligan.client.context import Context, config_path, save_context
from mulligan.config import Config, load
from mulligan.embedded.fleet import EmulatedFleet
from mulligan.embedded.ready import all_serving
from mulligan.embedded.region import RegionPaths, init_region
from mulligan.embedded.supervisor import Child, Supervisor
from mulligan.embedded.up import PRELOAD, children, context_of
from mulligan.projections.hashes import Hashes, table_hashes
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import connected
from mulligan.tls import fingerprint, issue, read_pair, write_pair

REGION = "demo"
RACKS = 4
READY_WITHIN_S = 60.0
REBUILT_WITHIN_S = 60.0
REBUILDS_MOST = 5


class DemoFailed(Exception):
    """A step of the walk did not do what it should."""


def run(machines: int, *, keep: bool) -> int:
    """Run the demo to its end and return the exit code; nothing it started is left."""
    folder = Path(tempfile.mkdtemp(prefix="mulligan-demo-"))
    began = time.monotonic()
    try:
        paths = init_region(folder / "region", REGION, usual_ports=False)
        config = load(paths.config, {})
        walk = Child(name="demo", run=partial(_walk, config, paths, machines, began), ends_all=True)
        preload = (*PRELOAD, "mulligan.cli.main", "mulligan.cli.machine")
        supervisor = Supervisor([*children(config), walk], config.state_dir, preload=preload)
        code = supervisor.run()
    finally:
        if keep:
            sys.stderr.write(f"kept: {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if code != 0:
        sys.stderr.write(f"DEMO FAILED (exit code {code})\n")
    return code


def _walk(config: Config, paths: RegionPaths, machines: int, began: float) -> int:
    try:
        return anyio.run(_walk_with_fleet, config, paths, machines, began)
    except (DemoFailed, TimeoutError) as error:
        sys.stderr.write(f"\nDEMO FAILED: {error}\n")
        sys.stderr.write(_logs(paths))
        return 1


def _logs(paths: RegionPaths) -> str:
    """Return the last lines of the services' logs, for whoever has to find out why."""
    shown = []
    for log in sorted((paths.state_dir / "logs").glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()
        if lines:
            shown.append(f"-- {log.name}\n" + "\n".join(lines[-5:]))
    return "\n".join(shown) + "\n"


async def _walk_with_fleet(config: Config, paths: RegionPaths, machines: int, began: float) -> int:
    os.environ["MULLIGAN_CONFIG"] = str(paths.state_dir / "client" / "config.toml")
    os.environ["XDG_CACHE_HOME"] = str(paths.state_dir / "client" / "cache")
    say(f"A region in {paths.state_dir}: etcd, Postgres and seven services start.")
    await all_serving(config, READY_WITHIN_S)
    say(f"All services serve, {time.monotonic() - began:.1f} s after the start.")
    save_context(config_path(), REGION, context_of(config, paths), make_current=True)
    certificate, key = _bmc_certificate(paths)
    fleet = EmulatedFleet(
        paths.state_dir / "fleet", machines, certificate=certificate, key=key, slowest=5
    )
    async with fleet:
        say(f"sushy-emulator serves {machines} BMCs at {fleet.address}.")
        steps = Walk(config, paths, fleet, certificate)
        await anyio.to_thread.run_sync(steps.to_deploy)
        await anyio.to_thread.run_sync(steps.to_release)
        await steps.rebuild()
    say("")
    say(f"DEMO OK: {steps.count} commands, {time.monotonic() - began:.1f} s")
    return 0


def say(text: str) -> None:
    """Tell the user what happens."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Walk:
    """The steps, as command lines."""

    def __init__(
        self, config: Config, paths: RegionPaths, fleet: EmulatedFleet, certificate: Path
    ) -> None:
        self.count = 0
        self._config = config
        self._paths = paths
        self._fleet = fleet
        self._certificate = certificate
        self._folder = paths.state_dir / "client"
        self._machines = [f"node-{n:02d}" for n in range(1, len(fleet.systems) + 1)]

    def to_deploy(self) -> None:
        """From an empty region to a machine that runs an image."""
        self._tenant()
        self._inventory()
        title("Inspect every machine out of band, then clean them and offer them to claims")
        self._on_all("inspect")
        self.cli("machine", "show", self._machines[0])
        self._on_all("provide")
        self.cli("provider", "list", "--group", "rack-1")
        title("As a tenant, within a quota: reserve two machines for later, claim one for now")
        self.cli("quota", "set", "research", "machine=4", "--max-lease", "7d")
        self.tenant(
            "reservation", "make", "--class", "machine=1", "--count", "2", "--start", "+2h",
            "--for", "4h", "--name", "tonight",
        )  # fmt: skip
        self.tenant("claim", "make", "--class", "machine=1", "--for", "1h", "--name", "build")
        self.tenant("claim", "list", "--gantt", "--width", "100")
        title("Why this machine? The same search again, where it ran; and if a rack were down?")
        self.tenant("claim", "explain", "build")
        self.tenant("claim", "plan", "-f", str(self._request()), "--cordon-group", "rack-1")
        title("Deploy: the BMC fetches the image from our media server and boots it")
        self.tenant("machine", "deploy", "build", "--image", "tiny", "--wait", "--timeout", "60s")
        self.tenant("machine", "list")

    def to_release(self) -> None:
        """Power, give back, and look at what was recorded."""
        held = self.tenant("machine", "list", "-o", "name", quiet=True).split()
        require(len(held) == 1, f"the tenant holds {held}")
        machine = held[0]
        self.cli("machine", "actions", machine)
        title("Power, with what the BMC reports")
        self.tenant("machine", "power", "off", machine, "--yes")
        self.tenant("machine", "wait", machine, "--timeout", "30s")
        self.tenant("machine", "power", "on", machine, "--yes")
        self.tenant("machine", "wait", machine, "--timeout", "30s")
        self.cli("machine", "why", machine)
        title("Give it back: the claim ends and the machine is cleaned, in one commit")
        self.tenant("machine", "release", machine, "--yes")
        self.cli("machine", "wait", machine, "--for", "available", "--timeout", "60s")
        self.tenant("claim", "list")
        title("Everything that happened is in the log, chained by hash")
        self.cli("log", "tail", "-n", "8")
        self.cli("log", "show", f"provider/{machine}")
        self.cli("log", "verify")

    async def rebuild(self) -> None:
        """Drop every read model, and see the same rows come back from the log."""
        title("Drop Postgres' read models; they come back from the log alone")
        before, after = await self._dropped_and_back()
        for name, found in sorted(before.items()):
            differing = found.differing(after[name])
            require(not differing, f"{name} came back different: {differing}")
            for table, hashed in sorted(found.tables.items()):
                say(f"  {name}.{table}: {hashed}, equal at entry {after[name].seq}")
        await anyio.to_thread.run_sync(partial(self.cli, "rebuild", "--verify"))
        await anyio.to_thread.run_sync(partial(self.cli, "status"))

    async def _dropped_and_back(self) -> tuple[dict[str, Hashes], dict[str, Hashes]]:
        """Return what the read models held before and after, at one position of the log.

        A machine may tell something in between; then it is done again.
        """
        for _ in range(REBUILDS_MOST):
            before = await self._hashes()
            for model in READ_MODELS:
                say(f"> DROP SCHEMA {model.schema} CASCADE")
            await self._drop()
            after = await self._hashes(before)
            if all(after[name].seq == found.seq for name, found in before.items()):
                return before, after
            say("Something happened meanwhile, and is in the log: once more.")
        raise DemoFailed("the log grew each time that the read models were dropped")

    def _tenant(self) -> None:
        title("A project and a tenant")
        secret = self._folder / "ada.secret"
        secret.write_text("correct-horse-battery\n")
        secret.chmod(0o600)
        self.cli("project", "create", "research")
        self.cli("account", "create", "ada", "--secret-file", str(secret))
        self.cli("account", "bind", "ada", "member", "--on", "research")
        admin = context_of(self._config, self._paths)
        tenant = Context(
            address=admin.address,
            ca=admin.ca,
            account="ada",
            project="research",
            region=REGION,
            secret_file=str(secret),
        )
        save_context(config_path(), "ada", tenant, make_current=False)

    def _inventory(self) -> None:
        title("The fleet: racks, BMC login, image and machines from one file")
        self._config.media.image_dir.mkdir(parents=True, exist_ok=True)
        image = self._config.media.image_dir / "tiny.iso"
        image.write_bytes(tiny_iso())
        password = self._folder / "bmc.password"
        password.write_text(f"{self._fleet.password}\n")
        fleet_file = self._folder / "fleet.yaml"
        sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
        fleet_file.write_text(yaml.safe_dump(self._fleet_file(sha256, password), sort_keys=False))
        self.cli("apply", "-f", str(fleet_file), "--yes")
        self.cli("apply", "-f", str(fleet_file), "--yes")
        self.cli("machine", "list")

    def _fleet_file(self, sha256: str, password: Path) -> dict[str, object]:
        pin = fingerprint(self._certificate.read_bytes())
        racks = [f"rack-{n}" for n in range(1, RACKS + 1)]
        by_rack: dict[str, list[str]] = {rack: [] for rack in racks}
        machines = []
        for index, (name, system) in enumerate(
            zip(self._machines, self._fleet.systems, strict=True)
        ):
            by_rack[racks[index % RACKS]].append(name)
            bmc = {
                "address": self._fleet.address,
                "system": system.uuid,
                "credential": "emulator",
                "fingerprint": pin,
            }
            machines.append({"name": name, "bmc": bmc})
        return {
            "credentials": [
                {
                    "name": "emulator",
                    "username": self._fleet.user,
                    "password_file": str(password),
                }
            ],
            "images": [{"name": "tiny", "url": "file:tiny.iso", "sha256": sha256}],
            "machines": machines,
            "groups": [{"name": rack, "members": by_rack[rack]} for rack in racks],
        }

    def _request(self) -> Path:
        wanted = {
            "groups": [{"name": "server", "count": 2, "resources": {"machine": 1}}],
            "isolate": [["server"]],
            "window": {"duration": "2h"},
        }
        path = self._folder / "two-servers.yaml"
        path.write_text(yaml.safe_dump(wanted, sort_keys=False))
        return path

    def _on_all(self, verb: str) -> None:
        self.cli("machine", verb, *self._machines, "--wait", "--timeout", "60s", shown="node-…")

    def cli(self, *arguments: str, shown: str = "", quiet: bool = False) -> str:
        """Run a command line as the administrator; raise DemoFailed unless it succeeds."""
        return self._cli((), arguments, shown, quiet)

    def tenant(self, *arguments: str, quiet: bool = False) -> str:
        """Run a command line as the tenant."""
        return self._cli(("--context", "ada"), arguments, "", quiet)

    def _cli(
        self, context: Sequence[str], arguments: Sequence[str], shown: str, quiet: bool
    ) -> str:
        from mulligan.cli.main import main

        self.count += 1
        words = [w for w in arguments if not (shown and w in self._machines)]
        if shown:
            words.insert(2, shown)
        prompt = "ada$ " if context else "$ "
        if not quiet:
            say(f"{prompt}mulligan {' '.join(words)}")
        printed = io.StringIO()
        screen = sys.stdout
        sys.stdout = _Tee(printed, None if quiet else screen)
        try:
            code = main([*context, *arguments])
        finally:
            sys.stdout = screen
        require(code == 0, f"mulligan {' '.join(words)} ended with exit code {code}")
        return printed.getvalue()

    async def _drop(self) -> None:
        async with connected(str(self._config.postgres.dsn)) as connection:
            for model in READ_MODELS:
                await connection.execute(f"DROP SCHEMA {model.schema} CASCADE")

    async def _hashes(self, wanted: Mapping[str, Hashes] | None = None) -> dict[str, Hashes]:
        """Hash every read model; with ``wanted``, wait until each is as far as it was there."""
        with anyio.fail_after(REBUILT_WITHIN_S):
            while True:
                found = await self._hash_once()
                reached = {name: hashes.seq for name, hashes in found.items()}
                if all(reached.get(n, -1) >= h.seq for n, h in (wanted or {}).items()):
                    return found
                await anyio.sleep(0.1)

    async def _hash_once(self) -> dict[str, Hashes]:
        found: dict[str, Hashes] = {}
        async with connected(str(self._config.postgres.dsn)) as connection:
            for model in READ_MODELS:
                hashes = await table_hashes(connection, model, model.schema)
                if hashes is not None:
                    found[model.name] = hashes
        return found


class _Tee(io.StringIO):
    """Keeps what is printed, and shows it indented."""

    def __init__(self, kept: io.StringIO, screen: TextIO | None) -> None:
        super().__init__()
        self._kept = kept
        self._screen = screen

    def write(self, text: str) -> int:
        self._kept.write(text)
        if self._screen is not None:
            self._screen.write(text)
        return len(text)


def title(text: str) -> None:
    """Begin a part of the walk."""
    say(f"\n== {text}")


def require(holds: bool, problem: str) -> None:
    """Raise DemoFailed with ``problem`` unless it holds."""
    if not holds:
        raise DemoFailed(problem)


def tiny_iso() -> bytes:
    """Make a small ISO image; the emulator fetches it as any BMC would, and boots nothing."""
    iso = pycdlib.PyCdlib()
    iso.new(vol_ident="MULLIGAN")
    text = b"mulligan demo image\n" * 50_000
    iso.add_fp(io.BytesIO(text), len(text), "/README.TXT;1")
    image = io.BytesIO()
    iso.write_fp(image)
    iso.close()
    return image.getvalue()


def _bmc_certificate(paths: RegionPaths) -> tuple[Path, Path]:
    """Issue the emulated BMCs' certificate, which the machines are enrolled with a pin of."""
    authority = paths.tls("ca")
    pair = issue(
        read_pair(authority.cert, authority.key), "bmc.demo", ips=["127.0.0.1"], server=True
    )
    folder = paths.state_dir / "client"
    folder.mkdir(mode=0o700, exist_ok=True)
    cert, key = folder / "bmc.pem", folder / "bmc.key"
    write_pair(pair, cert, key)
    return cert, key
