"""The archiver through the edge: what it seals and prunes, and what is read across the seam."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from grpclib import Status

from mulligan.cli.main import main
from mulligan.events.codec import decode_entry, entry_hash
from mulligan.model import new_id
from mulligan.proto import v1
from tests.e2e.region import RunningRegion, until
from tests.services.edge import Edge, refusal

SECRET = "a-secret-of-an-archivist"


class Archivist(Edge):
    """An edge with the administrator's token at hand."""

    token_of_admin = ""

    async def admin(self, project: str = "") -> str:
        self.token_of_admin = self.token_of_admin or await super().admin(project)
        return self.token_of_admin


@pytest.fixture(scope="module")
async def edge(keyed: RunningRegion) -> AsyncIterator[Edge]:
    bare = Archivist(keyed)
    yield bare
    bare.close()


@pytest.fixture(scope="module")
async def pruned(edge: Edge) -> v1.ArchiveStatus:
    """The archive's status once a good part of the log is there only."""
    await work(edge, 50)
    await seal(edge)
    await work(edge, 101)

    async def gone() -> bool:
        return (await status(edge)).pruned > 40

    await until(gone, "entries leave etcd", within=30)
    return await status(edge)


async def work(edge: Edge, times: int) -> None:
    for _ in range(times):
        name = f"p-{new_id()[-12:]}"
        request = v1.CreateProjectRequest(name=name)
        await edge.call("iam.create_project", request, await edge.admin())


async def status(edge: Edge) -> v1.ArchiveStatus:
    request = v1.GetArchiveStatusRequest()
    found: v1.ArchiveStatus = await edge.call(
        "archiver.get_archive_status", request, await edge.admin()
    )
    return found


async def seal(edge: Edge) -> v1.ArchiveStatus:
    answer = await edge.call("archiver.seal_archive", v1.SealArchiveRequest(), await edge.admin())
    found: v1.ArchiveStatus = answer.status
    return found


async def segments(edge: Edge, size: int = 0) -> list[v1.Segment]:
    found: list[v1.Segment] = []
    page = v1.Page(size=size)
    while True:
        request = v1.ListSegmentsRequest(page=page)
        answer = await edge.call("archiver.list_segments", request, await edge.admin())
        found += answer.segments
        if not answer.next_page_token:
            return found
        page = v1.Page(size=size, token=answer.next_page_token)


async def stream(edge: Edge, method: str, request: Any) -> list[Any]:
    service, _, name = method.partition(".")
    stub = getattr(v1, f"{service.capitalize()}Stub")(edge.channel(service))
    metadata = {"authorization": f"Bearer {await edge.admin()}"}
    return [one async for one in getattr(stub, name)(request, metadata=metadata, timeout=30)]


@contextmanager
def moved_away(file: Path) -> Iterator[None]:
    kept = file.with_name(f".{file.name}.kept")
    file.rename(kept)
    try:
        yield
    finally:
        kept.rename(file)


async def test_the_status_tells_how_far_it_is(edge: Edge, pruned: v1.ArchiveStatus) -> None:
    assert pruned.problem == ""
    assert pruned.head is not None
    assert 40 < pruned.pruned < pruned.sealed <= pruned.copied <= pruned.head.seq
    assert pruned.head.seq - pruned.pruned >= 100, "the newest stay"
    assert pruned.location == str(edge.region.config.archive.location)
    assert 0 < pruned.store_used_bytes <= pruned.store_bytes < pruned.store_quota_bytes
    (backup,) = pruned.backups
    assert (backup.of, backup.saved_at, backup.overdue, backup.problem) == (
        "secrets", None, False, "",
    )  # fmt: skip
    assert backup.newer > 0
    assert backup.since is not None
    log = await edge.call("log.get_log_status", v1.GetLogStatusRequest(), await edge.admin())
    assert log.first > 40
    assert log.store_quota_bytes == pruned.store_quota_bytes


async def test_segments_are_listed_page_by_page_and_follow(
    edge: Edge, pruned: v1.ArchiveStatus
) -> None:
    await seal(edge)
    found = await segments(edge)
    assert await segments(edge, size=1) == found
    assert found[0].first == 1
    assert found[0].pruned
    for before, one in pairwise(found):
        assert (one.first, one.prev) == (before.last + 1, before.hash)
    assert {one.region for one in found} == {edge.region.config.region}
    request = v1.ListSegmentsRequest(page=v1.Page(token="x"))
    admin = await edge.admin()
    refused = await refusal(edge.call("archiver.list_segments", request, admin))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("page.token",))


async def test_the_log_reads_and_proves_itself_across_the_seam(
    edge: Edge, pruned: v1.ArchiveStatus
) -> None:
    entries = await stream(edge, "log.export_log", v1.ExportLogRequest())
    assert [one.seq for one in entries] == [*range(1, len(entries) + 1)]
    for before, one in pairwise(entries):
        assert decode_entry(one.entry).prev == entry_hash(before.entry)
    proven = (await stream(edge, "log.verify_log", v1.VerifyLogRequest()))[-1]
    assert (proven.bad_seq, proven.problem) == (0, "")
    first = (await stream(edge, "log.read_log", v1.ReadLogRequest(first=1, last=3)))[0]
    assert first.position.seq == 1


async def test_read_models_are_built_anew_from_segments_and_tail(
    edge: Edge, pruned: v1.ArchiveStatus
) -> None:
    request = v1.RebuildProjectionsRequest(names=["audit", "names"], verify=True)
    steps = await stream(edge, "projector.rebuild_projections", request)
    assert steps[-1].finished
    assert {one.phase for one in steps if one.finished} == {"equal"}


async def test_verifying_names_the_first_bad_entry(edge: Edge, pruned: v1.ArchiveStatus) -> None:
    last = (await stream(edge, "archiver.verify_archive", v1.VerifyArchiveRequest()))[-1]
    assert (last.bad_seq, last.problem) == (0, "")
    assert last.verified == last.total >= pruned.sealed
    second = (await segments(edge))[1]
    file = Path(second.location) / second.name
    with moved_away(file):
        last = (await stream(edge, "archiver.verify_archive", v1.VerifyArchiveRequest()))[-1]
        assert (last.bad_seq, last.segment) == (second.first, second.name)
        assert last.verified == second.first - 1
        assert "missing" in last.problem
        request = v1.VerifyArchiveRequest(last=second.first - 1)
        last = (await stream(edge, "archiver.verify_archive", request))[-1]
        assert last.bad_seq == 0
        await work(edge, 1)
    request = v1.VerifyArchiveRequest(first=3, last=2)
    refused = await refusal(_first(edge, request))
    assert refused.status is Status.INVALID_ARGUMENT


async def _first(edge: Edge, request: v1.VerifyArchiveRequest) -> None:
    await stream(edge, "archiver.verify_archive", request)


async def test_a_tenant_sees_nothing_of_the_archive(edge: Edge, pruned: v1.ArchiveStatus) -> None:
    admin, name = await edge.admin(), f"tenant-{new_id()[-12:]}"
    await edge.call("iam.create_project", v1.CreateProjectRequest(name=name), admin)
    made = v1.CreateAccountRequest(name=name, secret=SECRET)
    await edge.call("iam.create_account", made, admin)
    binding = v1.RoleBinding(role="owner", project=name)
    bound = v1.BindRoleRequest(account=name, binding=binding)
    await edge.call("iam.bind_role", bound, admin)
    token = await edge.token(name, SECRET, name)
    for method, request in (
        ("archiver.list_segments", v1.ListSegmentsRequest()),
        ("archiver.get_archive_status", v1.GetArchiveStatusRequest()),
        ("archiver.seal_archive", v1.SealArchiveRequest()),
    ):
        refused = await refusal(edge.call(method, request, token))
        assert refused.status is Status.PERMISSION_DENIED


async def test_an_archive_is_checked_without_its_region(
    edge: Edge, pruned: v1.ArchiveStatus, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    location = pruned.location
    await edge.call("log.sign_checkpoint", v1.SignCheckpointRequest(), await edge.admin())
    sealed = await seal(edge)

    async def cli(*words: str) -> tuple[int, str]:
        code = await anyio.to_thread.run_sync(main, ["archive", "verify", *words])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    code, said = await cli("--location", location, "-o", "json")
    assert code == 0, said
    proof = json.loads(said)
    assert proof["sealed"] >= sealed.sealed
    assert proof["vouched"] > 0
    code, said = await cli("--location", str(tmp_path))
    assert (code, "no archive" in said) == (6, True), said
    second = (await segments(edge))[1]
    with moved_away(Path(location) / second.name):
        code, said = await cli("--location", location)
        assert code != 0
        assert second.name in said
