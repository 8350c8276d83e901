"""How long the command line takes: to start, to answer from an empty region, to list a fleet."""

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

_PATIENCE_S = 60.0
_LIBRARIES = "import grpclib.client, betterproto2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--runs", type=int, default=7, help="of each command; the median counts")
    parser.add_argument("--machines", type=int, default=10_000, help="in the fleet that is listed")


def run(args: argparse.Namespace) -> dict[str, float | int]:
    """Return figures: milliseconds to start, seconds to list, and two baselines to hold against.

    ``python_ms`` starts Python and ends; ``libraries_ms`` imports the gRPC libraries as well, as
    any client that calls a service must. ``version_ms``, ``help_ms`` and ``start_ms`` (``machine
    list`` of an empty region) are until the command has ended. ``start_ratio`` and ``list_ratio``
    are against ``libraries_ms``. ``start_cpu_ms`` and ``libraries_cpu_ms`` are processor time of
    runs that take turns, which a busy machine blurs less. ``load`` is that of the machine.
    """
    with tempfile.TemporaryDirectory(prefix="mulligan-cli-") as folder:
        environment = _environment(Path(folder))
        with _up(Path(folder), environment) as process:
            try:
                return _figures(args, Path(folder), environment)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(_PATIENCE_S)


def _figures(
    args: argparse.Namespace, folder: Path, environment: Mapping[str, str]
) -> dict[str, float | int]:
    def timed(command: Sequence[str], runs: int = args.runs) -> float:
        return _median_s(command, environment, runs)

    mulligan = str(Path(sys.executable).with_name("mulligan"))
    listing = [mulligan, "machine", "list"]
    libraries = [sys.executable, "-c", _LIBRARIES]
    figures: dict[str, float | int] = {
        "python_ms": round(timed([sys.executable, "-c", "pass"]) * 1000),
        "libraries_ms": round(timed(libraries) * 1000),
        "version_ms": round(timed([mulligan, "version"]) * 1000),
        "help_ms": round(timed([*listing, "--help"]) * 1000),
        "start_ms": round(timed(listing) * 1000),
    }
    start_cpu, libraries_cpu = _cpu_s([listing, libraries], environment, args.runs)
    figures |= {
        "start_cpu_ms": round(start_cpu * 1000),
        "libraries_cpu_ms": round(libraries_cpu * 1000),
        "start_cpu_ratio": round(start_cpu / libraries_cpu, 2),
    }
    fleet = folder / "fleet.yaml"
    fleet.write_text(_fleet(args.machines))
    apply = [mulligan, "apply", "-f", str(fleet), "--yes"]
    subprocess.run(apply, env=environment, check=True, stdout=subprocess.DEVNULL)
    printed = subprocess.run(listing, env=environment, check=True, capture_output=True).stdout
    assert printed.count(b"\n") == args.machines + 1
    seconds = timed(listing)
    return {
        **figures,
        "start_ratio": round(figures["start_ms"] / figures["libraries_ms"], 2),
        f"list_{args.machines}_s": round(seconds, 2),
        "list_ratio": round(seconds * 1000 / figures["libraries_ms"], 2),
        "load": round(os.getloadavg()[0], 1),
    }


def _median_s(command: Sequence[str], environment: Mapping[str, str], runs: int) -> float:
    seconds = []
    for _ in range(runs + 1):  # the first one warms the caches
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return median(seconds[1:])


def _cpu_s(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str], runs: int
) -> list[float]:
    """Return the median processor time of each command; they are run in turns."""
    seconds: list[list[float]] = [[] for _ in commands]
    for _ in range(runs):
        for command, found in zip(commands, seconds, strict=True):
            before = _spent_s()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            found.append(_spent_s() - before)
    return [median(found) for found in seconds]


def _spent_s() -> float:
    """Return the processor time of all processes that were begun and have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _fleet(machines: int) -> str:
    rows = [
        f"  - {{name: node-{number:05}, bmc: "
        f'{{address: "https://192.0.2.1:{number + 1000}", credential: bmc, insecure: true}}}}'
        for number in range(machines)
    ]
    login = "credentials:\n  - {name: bmc, username: root, password_env: BMC_PASSWORD}\n"
    return f"{login}machines:\n" + "\n".join(rows) + "\n"


def _environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {
        **kept,
        "MULLIGAN_CONFIG": str(folder / "client.toml"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "BMC_PASSWORD": "secret",
    }


def _up(folder: Path, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    command = [str(Path(sys.executable).with_name("mulligan")), "up", "--state", str(folder / "r")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "is ready" in line:
            return process
    raise RuntimeError("mulligan up ended before it was ready")
