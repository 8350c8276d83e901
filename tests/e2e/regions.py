"""Several regions that run as a user runs them, by `mulligan up --regions`."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from mulligan.config import Config
from mulligan.embedded.regions import init_regions
from tests.e2e.region import MULLIGAN, using
from tests.embedded.processes import alive, descendants

READY_S = 90.0
KNOWN = "the regions know each other"


class RunningRegions:
    """Regions below ``folder`` with ports of their own; ``start`` returns when each knows all."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.state = folder / "s"
        self.configs: dict[str, Config] = {
            config.region: config for config in init_regions(self.state, names)
        }
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "MULLIGAN_CONFIG": str(folder / "client.toml"),
            "MULLIGAN_STATE": str(self.state),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "COLUMNS": "120",
        }
        self.said = folder / "up.out"
        self._up: subprocess.Popen[bytes] | None = None

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
        """Run `mulligan up --regions` and return when it says that the regions know each other."""
        self._up = self._spawn()
        try:
            with anyio.fail_after(READY_S):
                while KNOWN not in self.said.read_text():
                    assert self._up.poll() is None, self.said.read_text()
                    await anyio.sleep(0.05)
        except BaseException:
            await self.stop()
            raise

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.said.open("wb") as out:
            return subprocess.Popen(
                [*MULLIGAN, "up", "--regions", ",".join(self.names)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.environment,
            )

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end; fail unless it does so well and leaves no process."""
        up, self._up = self._up, None
        if up is None:
            return
        below = descendants(up.pid)
        up.send_signal(number)
        try:
            code = await anyio.to_thread.run_sync(up.wait, 60)
        except subprocess.TimeoutExpired:
            up.kill()
            raise
        assert code == 0, self.said.read_text()
        assert not [pid for pid in below if alive(pid)]
        assert not using(self.state)

    def pids(self, region: str) -> dict[str, int]:
        """Return the process ids of a region's parts, its supervisor among them, by name."""
        folder = self.state / region / "run"
        return {path.stem: int(path.read_text()) for path in folder.glob("*.pid")}

    @contextmanager
    def dead(self, region: str) -> Iterator[None]:
        """Have every process of a region killed, and none started again, while the block runs."""
        supervisor = self.pids(region)["supervisor"]
        os.kill(supervisor, signal.SIGSTOP)
        try:
            for pid in descendants(supervisor):
                with suppress(ProcessLookupError):  # it ended with its parent
                    os.kill(pid, signal.SIGKILL)
            yield
        finally:
            os.kill(supervisor, signal.SIGCONT)

    async def cli(
        self, *words: str, within: float = 60.0, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end, as a user types it; fail unless it ends with ``code``."""
        with anyio.fail_after(within):
            ended = await anyio.run_process(
                [*MULLIGAN, *words], env=self.environment, check=False, stdin=subprocess.DEVNULL
            )
        out, err = ended.stdout.decode(), ended.stderr.decode()
        assert "Traceback" not in err, err
        assert ended.returncode == code, f"{words}: {ended.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(list(words), ended.returncode, out, err)
