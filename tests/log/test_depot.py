"""What every depot promises: a folder, and object storage behind a real HTTP server."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import anyio
import anyio.to_thread
import pytest

from mulligan.errors import BadConfiguration, Corrupt, NotFound, Unavailable
from mulligan.log.depot import Depot, File, FolderDepot, ObjectDepot, open_depot
from mulligan.model import new_id

from .conftest import free_ports

BUCKET = "archives"


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """An S3 server with a bucket; the environment names it as a user's would."""
    from moto.server import ThreadedMotoServer

    (port,) = free_ports(1)
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    address = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
            "AWS_ALLOW_HTTP": "true",
        }.items():
            patch.setenv(name, value)
        with urlopen(Request(f"{address}/{BUCKET}", method="PUT"), timeout=10) as answer:
            assert answer.status == 200
        yield address
    server.stop()


@pytest.fixture(params=["folder", "storage"])
def depot(request: pytest.FixtureRequest, tmp_path: Path) -> Depot:
    if request.param == "folder":
        return open_depot(str(tmp_path / "made" / "archive"))
    request.getfixturevalue("storage")
    return open_depot(f"s3://{BUCKET}/{new_id()}")


async def test_what_is_put_is_got(depot: Depot) -> None:
    data = os.urandom(300_000)
    await depot.put("segments/one.bin", data)
    assert await depot.get("segments/one.bin") == data
    await depot.put("segments/one.bin", b"another")
    assert await depot.get("segments/one.bin") == b"another"
    await depot.put("empty", b"")
    assert await depot.get("empty") == b""


async def test_what_is_not_there_is_not_found(depot: Depot) -> None:
    assert await depot.list() == []
    with pytest.raises(NotFound):
        await depot.get("segments/one.bin")
    await depot.put("segments/one.bin", b"x")
    with pytest.raises(NotFound):
        await depot.get("segments/two.bin")
    with pytest.raises(NotFound):
        await depot.get("segments")


async def test_files_are_listed_by_name_from_where_one_says(depot: Depot) -> None:
    for name in ("segments/b.2", "segments/a.1", "other", "segments/c.3"):
        await depot.put(name, name.encode())
    assert [one.name for one in await depot.list()] == [
        "other",
        "segments/a.1",
        "segments/b.2",
        "segments/c.3",
    ]
    assert await depot.list("segments/b") == [File("segments/b.2", 12)]
    assert [one.name for one in await depot.list("segments/", after="segments/a.1")] == [
        "segments/b.2",
        "segments/c.3",
    ]


async def test_deleting_is_done_once_or_twice(depot: Depot) -> None:
    await depot.put("segments/one.bin", b"x")
    await depot.delete("segments/one.bin")
    await depot.delete("segments/one.bin")
    assert await depot.list() == []


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../b", "", ".hidden", "a//b", "a\0"])
async def test_a_name_leads_nowhere_else(depot: Depot, name: str) -> None:
    for call in (depot.get(name), depot.put(name, b"x"), depot.delete(name)):
        with pytest.raises(Corrupt):
            await call


async def test_a_listing_goes_over_several_pages(depot: Depot) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(depot.put, f"segments/{number:04}", b"x")
    assert len(await depot.list("segments/")) == 30


async def test_a_folder_is_for_its_owner_and_holds_no_drafts(tmp_path: Path) -> None:
    depot = FolderDepot(tmp_path / "archive")
    await depot.put("segments/one.bin", b"x")
    (tmp_path / "archive" / "segments" / ".two.bin.1.draft").write_bytes(b"half")
    assert [one.name for one in await depot.list()] == ["segments/one.bin"]
    modes = await anyio.to_thread.run_sync(modes_below, tmp_path)
    assert (modes["archive"], modes["segments"], modes["one.bin"]) == (0o700, 0o700, 0o600)


def modes_below(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*")}


async def test_what_killed_writers_left_is_cleared_away_in_time(tmp_path: Path) -> None:
    depot = FolderDepot(tmp_path / "archive")
    await depot.put("segments/one.bin", b"x")
    left = tmp_path / "archive" / "segments" / ".two.bin.1.draft"
    young = left.with_name(".three.bin.1.draft")
    for path in (left, young):
        path.write_bytes(b"half")
    os.utime(left, (0, 0))
    await depot.put("segments/two.bin", b"x")
    assert not left.exists()
    assert young.exists(), "somebody may be at it"


async def test_a_folder_that_cannot_be_written_says_what_to_see_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    depot = FolderDepot(tmp_path / "file" / "archive")
    with pytest.raises(Unavailable, match=r"archive\.location"):
        await depot.put("one", b"x")


async def test_storage_that_is_away_or_refuses_us_says_so(storage: str) -> None:
    depot = ObjectDepot("s3://no-such-bucket/x")
    for call in (depot.put("one", b"x"), depot.get("one"), depot.list()):
        with pytest.raises(Unavailable, match="no bucket"):
            await call
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
        away = ObjectDepot(f"s3://{BUCKET}/x", deadline=1.0)
    with pytest.raises(Unavailable, match="s3://archives/x"):
        await away.get("one")


def test_a_location_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="folder"):
        open_depot("ftp://host/x")
    with pytest.raises(BadConfiguration, match=r"archive\.location"):
        open_depot("az://container/without/an/account")
