import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import web

from mulligan.redfish.faults import BmcFault
from mulligan.redfish.image_cache import ImageCache, Limits
from mulligan.redfish.media_server import MediaServer

IMAGE = bytes(range(256)) * 40
SHA = hashlib.sha256(IMAGE).hexdigest()
FILE = "file:small.iso"
SECRET = b"0123456789abcdef"


@pytest.fixture(autouse=True)
def small_iso(media: MediaServer, tmp_path: Path) -> Path:
    path = tmp_path / "images" / "small.iso"
    path.write_bytes(IMAGE)
    return path


class Mirror:
    """A web server with one image, that counts how often it is fetched."""

    def __init__(self) -> None:
        self.fetches = 0
        self.address = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.fetches += 1
        if request.path == "/chunked.iso":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(IMAGE)
            return response
        if request.path == "/broken.iso":
            return web.Response(status=500)
        if request.path != "/small.iso":
            return web.Response(status=404)
        await anyio.sleep(0.05)
        return web.Response(body=IMAGE)


@pytest.fixture
async def mirror() -> AsyncIterator[Mirror]:
    mirror = Mirror()
    app = web.Application()
    app.router.add_get("/{path:.*}", mirror.serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    mirror.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield mirror
    await runner.cleanup()


async def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.read()


async def fault_of(cache: ImageCache | MediaServer, url: str, sha256: str = SHA) -> BmcFault:
    with pytest.raises(BmcFault) as caught:
        await cache.stage(url, sha256)
    return caught.value


async def test_a_staged_image_is_served_and_what_was_read_is_counted(media: MediaServer) -> None:
    url = media.publish(FILE, SHA, "action-1")
    assert (await fetch(url))[0] == 404
    await media.stage(FILE, SHA)
    assert media.fetched(url).requests == 0
    assert await fetch(url) == (200, IMAGE)
    assert media.fetched(url).complete


async def test_a_range_is_served_and_counted_as_what_it_is(media: MediaServer) -> None:
    await media.stage(FILE, SHA)
    url = media.publish(FILE, SHA, "action-1")
    assert await fetch(url, Range="bytes=100-199") == (206, IMAGE[100:200])
    seen = media.fetched(url)
    assert (seen.requests, seen.bytes, seen.complete) == (1, 100, False)


async def test_the_url_is_the_same_for_an_attempt_and_another_for_the_next(
    media: MediaServer,
) -> None:
    first = media.publish(FILE, SHA, "action-1")
    assert media.publish(FILE, SHA, "action-1") == first
    assert media.publish(FILE, SHA, "action-2") != first
    assert media.publish(FILE, "0" * 64, "action-1") != first


async def test_a_published_url_outlives_the_process_until_it_is_withdrawn(
    tmp_path: Path,
) -> None:
    def server() -> MediaServer:
        return MediaServer(tmp_path / "kept", secret=SECRET, images=tmp_path / "images")

    async with server() as before:
        await before.stage(FILE, SHA)
        path = before.publish(FILE, SHA, "action-1").removeprefix(before.url)
    async with server() as after:
        assert await fetch(after.url + path) == (200, IMAGE)
        assert after.publish(FILE, SHA, "action-1") == after.url + path
        assert after.withdraw(after.url + path)
        assert not after.withdraw(after.url + path)
        assert (await fetch(after.url + path))[0] == 404
    async with server() as later:
        assert (await fetch(later.url + path))[0] == 404


async def test_what_another_secret_had_published_is_not_served(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    async with MediaServer(folder, secret=SECRET, images=tmp_path / "images") as before:
        await before.stage(FILE, SHA)
        path = before.publish(FILE, SHA, "action-1").removeprefix(before.url)
    async with MediaServer(folder, secret=SECRET[::-1]) as after:
        assert (await fetch(after.url + path))[0] == 404


async def test_guesses_and_paths_out_of_the_folder_find_nothing(media: MediaServer) -> None:
    await media.stage(FILE, SHA)
    for path in ("0" * 64, "..%2F..%2Fimages", SHA):
        assert (await fetch(f"{media.url}/media/{path}/image.iso"))[0] == 404


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("file:../cache/secret", "bad-params"),
        ("file:/etc/passwd", "bad-params"),
        ("file:..", "bad-params"),
        ("file:link.iso", "bad-params"),
        ("file:absent.iso", "image-missing"),
        ("ftp://host/x.iso", "bad-params"),
        ("http://[x.iso", "bad-params"),
        ("http://host:port/x.iso", "bad-params"),
    ],
)
async def test_only_files_of_the_image_folder_are_read(
    media: MediaServer, tmp_path: Path, url: str, fault: str
) -> None:
    (tmp_path / "images" / "link.iso").symlink_to("/etc/passwd")
    assert (await fault_of(media, url)).fault == fault


async def test_a_checksum_that_differs_does_not_heal_and_leaves_nothing(
    media: MediaServer, tmp_path: Path
) -> None:
    fault = await fault_of(media, FILE, "f" * 64)
    assert (fault.fault, fault.heals) == ("checksum-mismatch", False)
    assert SHA in fault.message
    assert "f" * 64 in fault.message
    assert not list((tmp_path / "cache" / "images").iterdir())


async def test_an_image_is_downloaded_once_however_many_want_it(
    media: MediaServer, mirror: Mirror
) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(media.stage, f"{mirror.address}/small.iso", SHA)
    assert mirror.fetches == 1


async def test_an_image_that_rotted_on_disk_is_fetched_again(
    tmp_path: Path, mirror: Mirror
) -> None:
    url = f"{mirror.address}/small.iso"
    for _ in range(2):
        cache = ImageCache(tmp_path / "c")
        cache.prepare()
        path = await cache.stage(url, SHA)
        assert path.read_bytes() == IMAGE
        path.write_bytes(b"rot")
    assert mirror.fetches == 2


@pytest.mark.parametrize(
    ("path", "fault", "heals"),
    [("gone.iso", "image-missing", False), ("broken.iso", "image-unavailable", True)],
)
async def test_an_image_server_that_refuses_is_told_apart_from_one_in_trouble(
    media: MediaServer, mirror: Mirror, path: str, fault: str, heals: bool
) -> None:
    seen = await fault_of(media, f"{mirror.address}/{path}")
    assert (seen.fault, seen.heals) == (fault, heals)


async def test_an_image_server_that_does_not_answer_may_heal_and_hides_its_password(
    media: MediaServer,
) -> None:
    seen = await fault_of(media, "http://user:hunter2@127.0.0.1:9/x.iso?token=hunter3")
    assert (seen.fault, seen.heals) == ("image-unavailable", True)
    assert "hunter" not in seen.message


@pytest.mark.parametrize("path", ["small.iso", "chunked.iso"])
async def test_too_large_an_image_is_refused_announced_or_not(
    tmp_path: Path, mirror: Mirror, path: str
) -> None:
    cache = ImageCache(tmp_path / "c", limits=Limits(image=1000))
    cache.prepare()
    assert (await fault_of(cache, f"{mirror.address}/{path}")).fault == "image-too-large"
    assert not list((tmp_path / "c").iterdir())


async def test_the_image_used_longest_ago_makes_room_unless_it_is_published(
    tmp_path: Path,
) -> None:
    images = tmp_path / "images"
    shas = []
    for name in ("a", "b", "c"):
        (images / f"{name}.iso").write_bytes(name.encode() * 1000)
        shas.append(hashlib.sha256(name.encode() * 1000).hexdigest())
    busy = {shas[0]}
    cache = ImageCache(
        tmp_path / "c", images=images, limits=Limits(cache=2000), in_use=lambda: busy
    )
    cache.prepare()
    for name, sha in zip("abc", shas, strict=True):
        await cache.stage(f"file:{name}.iso", sha)
    assert {path.name for path in (tmp_path / "c").iterdir()} == {shas[0], shas[2]}
    busy.add(shas[2])
    assert (await fault_of(cache, "file:b.iso", shas[1])).fault == "disk-full"
