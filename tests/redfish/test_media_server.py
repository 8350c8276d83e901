import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import anyio
import msgspec
import pytest
from aiohttp import web

from mulligan.redfish.faults import BmcFault
from mulligan.redfish.image_cache import ImageCache, Limits
from mulligan.redfish.media_server import MediaServer, boot_name, is_seed
from mulligan.redfish.publications import PublicationLimits

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


# -- seeds -----------------------------------------------------------------------------------


SEED = b"seed " * 10_000


async def head(url: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.head(url) as response:
        return response.status, response.headers["Content-Length"], await response.text()


async def test_a_seed_is_served_whole_in_parts_and_by_its_head(media: MediaServer) -> None:
    url = media.publish_seed("m-1", "o-1", "a-1", SEED)
    assert url.endswith("/seed.iso")
    assert await fetch(url) == (200, SEED)
    assert await fetch(url, Range="bytes=5-14") == (206, SEED[5:15])
    assert await head(url) == (200, str(len(SEED)), "")
    assert media.fetched(url).requests == 2


async def test_a_seeds_url_is_known_before_it_is_published_and_is_another_for_each_attempt(
    media: MediaServer,
) -> None:
    url = media.seed_url("m-1", "o-1", "a-1")
    assert (await fetch(url))[0] == 404
    assert media.publish_seed("m-1", "o-1", "a-1", SEED) == url
    assert media.publish_seed("m-1", "o-1", "a-1", b"other") == url
    assert await fetch(url) == (200, SEED)
    others = {("m-2", "o-1", "a-1"), ("m-1", "o-2", "a-1"), ("m-1", "o-1", "a-2")}
    assert url not in {media.seed_url(*other) for other in others}
    assert (await fetch(url.replace("seed.iso", "image.iso")))[0] == 404


async def test_a_seed_outlives_the_process_until_it_is_withdrawn(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    async with MediaServer(folder, secret=SECRET) as before:
        path = before.publish_seed("m-1", "o-1", "a-1", SEED).removeprefix(before.url)
    async with MediaServer(folder, secret=SECRET) as after:
        assert await fetch(after.url + path) == (200, SEED)
        assert after.withdraw(after.url + path)
        assert (await fetch(after.url + path))[0] == 404
    assert not list((folder / "seeds").iterdir())
    async with MediaServer(folder, secret=SECRET) as later:
        assert (await fetch(later.url + path))[0] == 404


async def test_a_seed_is_for_its_owners_eyes_and_gone_under_another_secret(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "kept"
    async with MediaServer(folder, secret=SECRET) as before:
        path = before.publish_seed("m-1", "o-1", "a-1", SEED).removeprefix(before.url)
    (kept,) = (folder / "seeds").iterdir()
    os.utime(kept, (1, 1))
    assert kept.stat().st_mode & 0o777 == 0o600
    assert (folder / "seeds").stat().st_mode & 0o777 == 0o700
    async with MediaServer(folder, secret=SECRET[::-1]) as after:
        assert (await fetch(after.url + path))[0] == 404
    assert not kept.exists()


async def test_two_executors_with_one_key_serve_the_same_seed_under_the_same_path(
    tmp_path: Path,
) -> None:
    async with (
        MediaServer(tmp_path / "one", secret=SECRET) as one,
        MediaServer(tmp_path / "two", secret=SECRET) as two,
    ):
        first = one.publish_seed("m-1", "o-1", "a-1", SEED)
        second = two.publish_seed("m-1", "o-1", "a-1", SEED)
        assert first.removeprefix(one.url) == second.removeprefix(two.url)
        assert one.withdraw(second)


async def test_all_that_was_published_for_a_machine_is_withdrawn_at_once(
    media: MediaServer,
) -> None:
    await media.stage(FILE, SHA)
    mine = [
        media.publish(FILE, SHA, "a-1", machine="m-1"),
        media.publish_seed("m-1", "o-1", "a-2", SEED),
    ]
    other = media.publish(FILE, SHA, "a-3", machine="m-2")
    assert media.withdraw_all("m-1", but=mine[0]) == 1
    assert media.withdraw_all("m-1") == 1
    assert [(await fetch(url))[0] for url in (*mine, other)] == [404, 404, 200]
    assert media.withdraw_all("m-1") == 0


async def test_seeds_are_bounded_in_number_and_in_bytes(tmp_path: Path) -> None:
    for limits in (PublicationLimits(number=2), PublicationLimits(seed_bytes=2 * len(SEED))):
        server = MediaServer(tmp_path / repr(limits), secret=SECRET, publication_limits=limits)
        async with server:
            urls = [server.publish_seed("m-1", "o-1", f"a-{n}", SEED) for n in range(2)]
            with pytest.raises(BmcFault) as caught:
                server.publish_seed("m-1", "o-1", "a-2", SEED)
            assert (caught.value.fault, caught.value.heals) == ("disk-full", True)
            server.withdraw(urls[0])
            server.publish_seed("m-1", "o-1", "a-2", SEED)


async def test_a_seed_that_nobody_withdrew_for_a_day_makes_room(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    limits = PublicationLimits(number=1)
    async with MediaServer(folder, secret=SECRET) as before:
        before.publish_seed("m-1", "o-1", "a-1", SEED)
    (record,) = (folder / "published").iterdir()
    kept = msgspec.json.decode(record.read_bytes())
    record.write_bytes(msgspec.json.encode({**kept, "at": kept["at"] - 90_000}))
    async with MediaServer(folder, secret=SECRET, publication_limits=limits) as after:
        url = after.publish_seed("m-1", "o-1", "a-2", SEED)
        assert (await fetch(url))[0] == 200
        assert len(list((folder / "seeds").iterdir())) == 1


async def test_an_image_for_http_boot_keeps_the_suffix_that_firmware_goes_by(
    media: MediaServer,
) -> None:
    assert boot_name("https://host/x/Grubx64.EFI?v=2") == "boot.efi"
    assert boot_name("file:live.iso") == "boot.iso"
    assert boot_name("http://host/kernel") == "boot.efi"
    await media.stage(FILE, SHA)
    url = media.publish(FILE, SHA, "a-1", name="boot.efi")
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.headers["Content-Type"] == "application/efi"
        assert await response.read() == IMAGE


def test_a_seeds_url_is_told_from_others_however_a_bmc_shows_it() -> None:
    path = f"/media/{'a' * 64}/seed.iso"
    assert all(is_seed(shown) for shown in (path, f"10.0.0.1:7008{path}", f"http://h{path}"))
    assert not any(is_seed(u) for u in ("", "http://h/seed.iso", path.replace("seed", "image")))
