"""One region, and its callers, for every test of this folder."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mulligan.proto import v1
from tests.collector import Collector
from tests.e2e.fleet import Fleet
from tests.e2e.region import RunningRegion, short_folder
from tests.services.edge import Edge
from tests.services.matrix_world import World
from tests.services.yard import Yard

SECRET = "a-secret-of-a-tenant"
ARCHIVED_AT_ONCE = {
    "MULLIGAN_ARCHIVE_SEGMENT_BYTES": "65536",
    "MULLIGAN_ARCHIVE_KEEP_ENTRIES": "100",
    "MULLIGAN_ARCHIVE_KEEP_DAYS": "0.00002",
    "MULLIGAN_ARCHIVE_COPY_S": "1",
}


class Tokens(NamedTuple):
    """Tokens of the callers: an administrator, members of two projects, and a reader of one."""

    admin: str
    red: str
    blue: str
    reader: str


@pytest.fixture(scope="package")
def place() -> Iterator[Path]:
    """A folder with a short path; no process may use it in the end."""
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    """Who is told of the region's traces: of those that a test begins, for it begins none."""
    with Collector() as listening:
        yield listening


@pytest.fixture(scope="package")
async def region(place: Path, collector: Collector) -> AsyncIterator[RunningRegion]:
    """The region that all tests of this folder share; they leave it in working order."""
    settings = {
        # As short as it may be: a test waits for what is seen of a machine between operations.
        "MULLIGAN_OBSERVE_POLL_S": "5",
        "MULLIGAN_TRACE_ENDPOINT": collector.endpoint,
        "MULLIGAN_TRACE_SAMPLE": "0",
        "MULLIGAN_LOG_FORMAT": "json",
    }
    async with RunningRegion(place, settings=settings) as running:
        yield running


@pytest.fixture(scope="package")
async def keyed() -> AsyncIterator[RunningRegion]:
    """A region of its own for tests that change keys, which ends sessions and compacts etcd.

    Its log leaves etcd for the archive as soon as it may: whatever these tests read, they read
    across that seam.
    """
    with short_folder() as folder:
        async with RunningRegion(folder, "keyed", settings=ARCHIVED_AT_ONCE) as running:
            yield running


@pytest.fixture(scope="package")
async def edge(region: RunningRegion) -> AsyncIterator[Edge]:
    """Bare gRPC to the region."""
    bare = Edge(region)
    yield bare
    bare.close()


@pytest.fixture(scope="package")
async def tokens(edge: Edge) -> Tokens:
    """A token for each kind of caller."""
    admin = await edge.admin()
    for project in ("red", "blue"):
        await edge.call("iam.create_project", v1.CreateProjectRequest(name=project), admin)
    for account, role, project in (
        ("rita", "member", "red"),
        ("bert", "member", "blue"),
        ("rob", "reader", "red"),
    ):
        made = v1.CreateAccountRequest(name=account, secret=SECRET)
        await edge.call("iam.create_account", made, admin)
        binding = v1.RoleBinding(role=role, project=project)
        await edge.call(
            "iam.bind_role", v1.BindRoleRequest(account=account, binding=binding), admin
        )
    return Tokens(
        admin=admin,
        red=await edge.token("rita", SECRET, "red"),
        blue=await edge.token("bert", SECRET, "blue"),
        reader=await edge.token("rob", SECRET, "red"),
    )


@pytest.fixture(scope="package")
async def yard(region: RunningRegion, tokens: Tokens, place: Path) -> AsyncIterator[Yard]:
    """Emulated machines that nobody has enrolled yet; each test takes some for itself."""
    fleet = Fleet(region, place / "yard", 40, prefix="yard", slowest=1)
    admin, red = region.client(), region.client("rita", SECRET, "red")
    async with fleet.emulator:
        await fleet.prepare(admin)
        yield Yard(fleet, admin, red)


@pytest.fixture(scope="package")
async def world(edge: Edge, yard: Yard) -> World:
    """Everything there is to be seen, touched, or not."""
    found = World(edge, await edge.admin())
    for color, called in (("red", "vermilion"), ("blue", "azure"), ("green", "green")):
        await found.project(color, called)
    await found.machines(yard)
    await found.shared()
    await found.system()
    head = (await found.call("log.get_log_status", v1.GetLogStatusRequest())).head
    await found.call(
        "resource.list_providers",
        v1.ListProvidersRequest(freshness=v1.Freshness(at_least=head)),
    )
    return found
