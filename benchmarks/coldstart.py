"""How long `mulligan up` takes until every service serves, and how much memory it then has."""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

_OURS = re.compile(rb"mulligan: (iam|meta|resource|control|log|projector|executor)")
_READY = "is ready"
_PATIENCE_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--runs", type=int, default=3, help="starts after the first")


def run(args: argparse.Namespace) -> dict[str, float | int]:
    """Return figures: seconds until ready, and resident memory of our own processes in MB.

    ``first_ready_s`` includes making the region: CA, certificates, initdb. ``ready_s`` is the
    median of the later starts. ``rss_mb`` counts pages that our processes share once (PSS);
    ``rss_sum_mb`` counts them in each process.
    """
    with tempfile.TemporaryDirectory(prefix="mulligan-cold-") as folder:
        first, _ = _start(Path(folder))
        later = [_start(Path(folder)) for _ in range(args.runs)]
    memory = later[-1][1]
    return {
        "first_ready_s": round(first, 2),
        "ready_s": round(median(seconds for seconds, _ in later), 2),
        "rss_mb": round(memory["Pss"] / 1024),
        "rss_sum_mb": round(memory["Rss"] / 1024),
        "processes": memory["processes"],
    }


def _start(folder: Path) -> tuple[float, dict[str, int]]:
    env = {
        **os.environ,
        "MULLIGAN_CONFIG": str(folder / "client.toml"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    command = [str(Path(sys.executable).with_name("mulligan")), "up", "--state", str(folder / "r")]
    began = time.monotonic()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            seconds = _await_ready(process, began)
            return seconds, _memory(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_PATIENCE_S)


def _await_ready(process: subprocess.Popen[str], began: float) -> float:
    assert process.stdout is not None
    for line in process.stdout:
        if _READY in line:
            return time.monotonic() - began
    raise RuntimeError("mulligan up ended before it was ready")


def _memory(parent: int) -> dict[str, int]:
    totals = {"Pss": 0, "Rss": 0, "processes": 0}
    for pid in [parent, *_children(parent)]:
        if pid != parent and not _OURS.match(_command(pid)):
            continue
        totals["processes"] += 1
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("Pss", "Rss"):
                totals[name] += int(rest.split()[0])
    return totals


def _children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in found.split()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""  # it has just ended, as the announcer does
