"""The command as a user runs it: a process of its own, with a fake region or with none."""

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import anyio
import pytest

from tests.client.conftest import cluster, region, tls
from tests.client.fakes import SECRET, Cluster

__all__ = ["cluster", "region", "tls"]

Cli = Callable[..., Awaitable[subprocess.CompletedProcess[bytes]]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "MULLIGAN_PATIENCE": "3",
        "COLUMNS": "100",
    }


@pytest.fixture
def outside(environment: dict[str, str]) -> Cli:
    """Run the command where no control plane is known."""

    async def run(
        *arguments: str, stdin: bytes = b"", **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        return await command(arguments, {**environment, **more}, stdin)

    return run


@pytest.fixture
def cli(cluster: Cluster, environment: dict[str, str]) -> Cli:
    """Run the command as a user of the fake region."""
    known = {
        **environment,
        "MULLIGAN_ADDRESS": cluster.instances[0].address,
        "MULLIGAN_CA": str(cluster.tls.ca),
        "MULLIGAN_ACCOUNT": "ada",
        "MULLIGAN_SECRET": SECRET,
    }

    async def run(
        *arguments: str, stdin: bytes = b"", **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        return await command(arguments, {**known, **more}, stdin)

    return run


async def command(
    arguments: tuple[str, ...], environment: Mapping[str, str], stdin: bytes
) -> subprocess.CompletedProcess[bytes]:
    with anyio.fail_after(60):
        ended = await anyio.run_process(
            [sys.executable, "-m", "mulligan.cli.main", *arguments],
            input=stdin,
            env=environment,
            check=False,
        )
    assert b"Traceback" not in ended.stderr
    return ended
