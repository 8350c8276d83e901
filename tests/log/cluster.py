"""A real etcd cluster of three over TLS; each member can be killed, frozen and revived."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

from mulligan.log.etcd import EtcdSettings

from .conftest import etcd_binary, free_ports


class ClusterMember:
    """One etcd process of a cluster, on a data directory of its own."""

    def __init__(self, name: str, home: Path, certs: Path, ports: list[int]) -> None:
        self.name = name
        self._home = home
        self._certs = certs
        self._ports = ports
        self.endpoint, self.peer_url = (f"https://127.0.0.1:{port}" for port in self._ports[:2])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, initial: str) -> None:
        """Run it as one of the members ``initial``; it serves once there is a quorum."""
        binary, sound = etcd_binary()
        certs = self._certs
        command = [
            binary, f"--name={self.name}", f"--data-dir={self._home}/{self.name}",
            f"--listen-client-urls={self.endpoint}", f"--advertise-client-urls={self.endpoint}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}", f"--initial-cluster={initial}",
            f"--listen-metrics-urls=http://127.0.0.1:{self._ports[2]}", "--log-level=error",
            f"--cert-file={certs}/server.pem", f"--key-file={certs}/server.key",
            f"--trusted-ca-file={certs}/ca.pem", "--client-cert-auth",
            f"--peer-cert-file={certs}/server.pem", f"--peer-key-file={certs}/server.key",
            f"--peer-trusted-ca-file={certs}/ca.pem", "--peer-client-cert-auth",
            "--heartbeat-interval=50", "--election-timeout=500",
        ]  # fmt: skip
        if not sound:
            command += ["--backend-batch-limit=1", "--unsafe-no-fsync"]
        with open(self._home / f"{self.name}.log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    @property
    def running(self) -> bool:
        """Whether there is a process, frozen or not."""
        return self._process is not None

    def kill(self) -> None:
        """SIGKILL it, frozen or not, and reap it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it where it stands, connections open."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def said(self) -> str:
        """The end of its log, and whether it still runs."""
        code = self._process.poll() if self._process else None
        return f"{self.name} ({code}): " + (self._home / f"{self.name}.log").read_text()[-1500:]

    def serves(self) -> bool:
        """Whether it answers linearizable reads."""
        return b'"health":"true"' in self._get("health")

    def leads(self) -> bool:
        """Whether it says that it is the leader."""
        return b"\netcd_server_is_leader 1\n" in self._get("metrics")

    def _get(self, path: str) -> bytes:
        try:
            with urlopen(f"http://127.0.0.1:{self._ports[2]}/{path}", timeout=2) as answer:
                return bytes(answer.read())
        except OSError:
            return b""


class Cluster:
    """Three members that know each other."""

    def __init__(self, home: Path, certs: Path) -> None:
        ports = free_ports(9)
        self.members = [
            ClusterMember(f"m{n}", home, certs, ports[3 * n : 3 * n + 3]) for n in range(3)
        ]
        self._certs = certs

    def start(self) -> None:
        """Start every member that does not run; return once all of them serve."""
        initial = ",".join(f"{m.name}={m.peer_url}" for m in self.members)
        for member in self.members:
            if not member.running:
                member.start(initial)
        self._until(lambda: all(member.serves() for member in self.members))

    def kill(self) -> None:
        """Kill every member."""
        for member in self.members:
            member.kill()

    def leader(self) -> ClusterMember:
        """Return the member that leads."""
        found: list[ClusterMember] = []

        def look() -> bool:
            found[:] = [member for member in self.members if member.leads()]
            return len(found) == 1

        self._until(look)
        return found[0]

    def followers(self) -> list[ClusterMember]:
        """Return the members that do not lead."""
        leader = self.leader()
        return [member for member in self.members if member is not leader]

    def settings(self, first: ClusterMember) -> EtcdSettings:
        """How a client reaches it that prefers ``first``."""
        others = [member for member in self.members if member is not first]
        return EtcdSettings(
            endpoints=tuple(member.endpoint for member in (first, *others)),
            ca=str(self._certs / "ca.pem"),
            cert=str(self._certs / "client.pem"),
            key=str(self._certs / "client.key"),
        )

    def _until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not condition():
            if time.monotonic() > end:
                raise AssertionError("\n".join(member.said() for member in self.members))
            time.sleep(0.05)
