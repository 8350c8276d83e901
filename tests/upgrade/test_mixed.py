"""The last release and this one on one region, at the same time, under load."""

import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from benchmarks._rolling import Deployment, deployment, short_folder
from benchmarks._rolling_load import Load
from mulligan.errors import FailedPrecondition
from mulligan.proto import v1
from mulligan.services.serve import SERVICES
from tests.upgrade.release import Release

OLD, NEW = "old", "new"


@pytest.fixture
async def deployed(release: Release) -> AsyncIterator[Deployment]:
    """A region that the last release has set up, without any service yet."""
    with short_folder() as folder:
        async with deployment(folder, release.tree) as found:
            yield found


def held(load: Load) -> None:
    """Fail unless every call did what it promised."""
    assert load.calls
    assert [f"{call.name}: {call.problem}" for call in load.failed] == []


async def replace_old(deployed: Deployment, service: str) -> None:
    """Put this release's instance in the place of the last release's."""
    (old,) = [one for one in deployed.of(service) if one.release == OLD]
    await deployed.start(service, release=NEW)
    await deployed.stop(old)


def command(
    release: Release, deployed: Deployment, *words: str
) -> subprocess.CompletedProcess[str]:
    """Run the last release's command line, as the region's administrator."""
    folder = deployed.paths.state_dir
    settings = {
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        "MULLIGAN_CONFIG": str(folder / "client.toml"),
        "MULLIGAN_ADDRESS": ",".join(deployed.context.address),
        "MULLIGAN_CA": str(deployed.config.tls.ca),
        "MULLIGAN_ACCOUNT": "admin",
        "MULLIGAN_SECRET": deployed.paths.admin_secret.read_text().strip(),
    }
    return subprocess.run(
        [sys.executable, "-m", "mulligan.cli.main", *words],
        cwd=release.tree,
        env=settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def older_clients_work(release: Release, deployed: Deployment) -> None:
    """Have the last release's command line read and write."""
    name = f"by-an-older-client-{random.randrange(10**9)}"
    made = await anyio.to_thread.run_sync(
        command, release, deployed, "project", "create", name, "-q"
    )
    assert made.returncode == 0, made.stderr
    told = await anyio.to_thread.run_sync(
        command, release, deployed, "project", "list", "-o", "json"
    )
    assert told.returncode == 0, told.stderr
    assert name in {project["name"] for project in json.loads(told.stdout)}


@pytest.mark.upgrade
async def test_an_upgrade_of_every_service_under_load_fails_no_call(
    deployed: Deployment, release: Release
) -> None:
    await deployed.start_all(tree=release.tree, release=OLD)
    async with deployed.client() as newer:
        with pytest.raises(FailedPrecondition, match="it is older than this client; upgrade it"):
            await newer.meta.update_region(v1.UpdateRegionRequest())
    load = Load(deployed.client, writers=2, readers=1)
    order = random.Random(61).sample(SERVICES, len(SERVICES))
    async with load.running():
        for service in order:
            await replace_old(deployed, service)
        await older_clients_work(release, deployed)
    held(load)


async def test_what_the_last_release_cannot_read_waits_until_it_is_gone(
    deployed: Deployment, release: Release
) -> None:
    await deployed.start_all([s for s in SERVICES if s != "archiver"], release=NEW)
    await deployed.start("archiver", release.tree, OLD)
    connect = v1.ConnectRegionRequest(name="west", addresses=["w.example:7001"], ca=ca(deployed))
    async with deployed.client() as client:
        with pytest.raises(FailedPrecondition, match=r"upgrade archiver-.*release 0\.1\.0"):
            await client.meta.connect_region(connect)
        await older_clients_work(release, deployed)
        await replace_old(deployed, "archiver")
        await client.meta.connect_region(connect)
        told = await client.meta.list_regions(v1.ListRegionsRequest())
        assert "west" in {region.name for region in told.regions}


def ca(deployed: Deployment) -> str:
    assert deployed.config.tls.ca is not None
    return Path(deployed.config.tls.ca).read_text()


@pytest.mark.upgrade
@pytest.mark.parametrize("service", SERVICES)
async def test_any_service_may_be_the_only_new_one(
    deployed: Deployment, release: Release, service: str
) -> None:
    await deployed.start_all(tree=release.tree, release=OLD)
    load = Load(deployed.client, writers=2, readers=1)
    async with load.running():
        await replace_old(deployed, service)
        await anyio.sleep(3)
        await older_clients_work(release, deployed)
    held(load)


@pytest.mark.upgrade
@pytest.mark.parametrize("service", SERVICES)
async def test_any_service_may_be_the_only_old_one(
    deployed: Deployment, release: Release, service: str
) -> None:
    async with anyio.create_task_group() as tasks:  # none serves without the projector
        tasks.start_soon(deployed.start, service, release.tree, OLD)
        for one in SERVICES:
            if one != service:
                tasks.start_soon(partial(deployed.start, one, release=NEW))
    load = Load(deployed.client, writers=2, readers=1)
    async with load.running():
        await anyio.sleep(3)
        await older_clients_work(release, deployed)
        await replace_old(deployed, service)
    held(load)


@pytest.mark.upgrade
@pytest.mark.parametrize("seed", range(6))
async def test_services_may_be_upgraded_in_any_order(
    deployed: Deployment, release: Release, seed: int
) -> None:
    rng = random.Random(seed)
    await deployed.start_all(tree=release.tree, release=OLD)
    load = Load(deployed.client, writers=2, readers=1)
    async with load.running():
        for service in rng.sample(SERVICES, len(SERVICES)):
            if rng.random() < 0.5:
                await replace_old(deployed, service)
            else:
                (old,) = deployed.of(service)
                await deployed.stop(old)
                await deployed.start(service, release=NEW)
        await older_clients_work(release, deployed)
    held(load)


@pytest.mark.upgrade
async def test_a_service_may_go_back_to_the_last_release(
    deployed: Deployment, release: Release
) -> None:
    await deployed.start_all(release=NEW)
    load = Load(deployed.client, writers=2, readers=1)
    async with load.running():
        for service in ("resource", "control", "iam", "meta", "log", "executor", "archiver"):
            (new,) = deployed.of(service)
            await deployed.start(service, release.tree, OLD)
            await deployed.stop(new)
    held(load)
