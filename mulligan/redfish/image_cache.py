"""Images on the executor's disk: downloaded once, verified by checksum, bounded in size."""

import hashlib
import os
import re
import secrets
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import anyio
import anyio.to_thread
import msgspec

from mulligan.redfish.faults import BmcFault

_CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the cache: sizes in bytes, times in seconds."""

    image: int = 16 << 30
    cache: int = 64 << 30
    spare: int = 256 << 20
    """What is left free on the disk in any case."""
    connect: float = 10.0
    read: float = 60.0
    total: float = 3600.0
    downloads: int = 2


class ImageCache:
    """Verified images in ``folder``, each under its sha256.

    ``images`` is the only folder that ``file:<name>`` reads from; without it there are no file
    images. ``in_use`` names the checksums that must not be evicted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        images: Path | None = None,
        limits: Limits | None = None,
        in_use: Callable[[], set[str]] = set,
    ) -> None:
        self.limits = limits or Limits()
        self._folder = folder
        self._images = images
        self._in_use = in_use
        self._verified: set[str] = set()
        self._locks: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._downloads = anyio.Semaphore(self.limits.downloads)

    def prepare(self) -> None:
        """Make the folder and drop what an interrupted download left behind."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for part in self._folder.glob("*.part"):
            part.unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Return where an image of this checksum is, whether or not it is there."""
        return self._folder / checked_sha256(sha256)

    async def stage(self, url: str, sha256: str) -> Path:
        """Have the image on disk and verified, and return its path; idempotent.

        Raise BmcFault: ``checksum-mismatch``, ``image-missing``, ``image-unavailable``,
        ``image-too-large``, ``disk-full`` or ``bad-params``.
        """
        path = self.path(sha256)
        checked_url(url)
        async with self._locks[path.name]:
            if await self._is_good(path):
                os.utime(path)
                return path
            async with self._downloads:
                with anyio.move_on_after(self.limits.total):
                    await self._download(url, path)
                    return path
        raise BmcFault(
            "image-unavailable", f"{_shown(url)} took longer than {self.limits.total:.0f} s"
        )

    async def _is_good(self, path: Path) -> bool:
        """Tell whether the image is here; its bytes are checked once by each process."""
        if path.name not in self._verified:
            if not await anyio.to_thread.run_sync(_matches, path):
                return False
            self._verified.add(path.name)
        return path.exists()  # noqa: ASYNC240 - one stat of a local file

    async def _download(self, url: str, path: Path) -> None:
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        sha = hashlib.sha256()
        size = 0
        try:
            async with self._source(url) as source, await anyio.open_file(part, "wb") as file:
                async for chunk in source:
                    size += len(chunk)
                    if size > self.limits.image:
                        raise self._too_large(url)
                    await anyio.to_thread.run_sync(sha.update, chunk)
                    await file.write(chunk)
            if sha.hexdigest() != path.name:
                raise BmcFault(
                    "checksum-mismatch",
                    f"{_shown(url)} has the sha256 {sha.hexdigest()}, its image record says "
                    f"{path.name}; correct whichever is wrong",
                )
            self._make_room(url, size, written=size)
            part.replace(path)
            self._verified.add(path.name)
        except OSError as error:
            raise BmcFault("disk-full", f"cannot keep {_shown(url)}: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)

    @asynccontextmanager
    async def _source(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        if url.startswith("file:"):
            path = self._local_file(url)
            self._make_room(url, path.stat().st_size)
            yield _file_chunks(path)
        else:
            async with self._fetched(url) as response:
                yield response.content.iter_chunked(_CHUNK)

    @asynccontextmanager
    async def _fetched(self, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(
            total=self.limits.total, sock_connect=self.limits.connect, sock_read=self.limits.read
        )
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
                session.get(url, max_redirects=5) as response,
            ):
                if response.status != 200:
                    kind = "image-missing" if 400 <= response.status < 500 else "image-unavailable"
                    raise BmcFault(kind, f"{_shown(url)} answered {response.status}")
                self._make_room(url, response.content_length or 0)
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or "no answer within the time allowed"
            raise BmcFault("image-unavailable", f"{_shown(url)}: {reason[:200]}") from error

    def _local_file(self, url: str) -> Path:
        name = url.removeprefix("file:")
        if self._images is None:
            raise BmcFault("bad-params", "this executor has no image folder for file: images")
        if not _NAME.fullmatch(name):
            raise BmcFault("bad-params", f"file:{name[:80]} is not the name of a file")
        folder = self._images.resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise BmcFault("bad-params", f"file:{name} leads out of the image folder")
        if not path.is_file():
            raise BmcFault("image-missing", f"file:{name} is not in the executor's image folder")
        return path

    def _make_room(self, url: str, size: int, written: int = 0) -> None:
        """Evict what was used longest ago until ``size`` fits; raise when it cannot.

        ``written`` bytes of it are on the disk already. Called again at the end, as a server need
        not tell the size before.
        """
        if size > self.limits.image:
            raise self._too_large(url)
        kept = [path for path in self._folder.iterdir() if _SHA256.fullmatch(path.name)]
        used = sum(path.stat().st_size for path in kept)
        free = shutil.disk_usage(self._folder).free + written - self.limits.spare
        busy = self._in_use()
        for path in sorted(kept, key=lambda path: path.stat().st_mtime):
            if used + size <= self.limits.cache and size <= free:
                return
            if path.name not in busy:
                freed = path.stat().st_size
                path.unlink(missing_ok=True)
                self._verified.discard(path.name)
                used, free = used - freed, free + freed
        if used + size > self.limits.cache or size > free:
            raise BmcFault(
                "disk-full",
                f"no room for {_shown(url)} ({size} bytes): the cache's other images are in use",
            )

    def _too_large(self, url: str) -> BmcFault:
        return BmcFault(
            "image-too-large", f"{_shown(url)} is larger than {self.limits.image} bytes"
        )


def checked_sha256(text: str) -> str:
    """Return a sha256 in lower-case hex; raise ``bad-params`` for anything else."""
    lower = text.strip().lower()
    if not _SHA256.fullmatch(lower):
        raise BmcFault("bad-params", f"{text[:80]!r} is no sha256 in hex")
    return lower


def checked_url(url: str) -> None:
    """Raise ``bad-params`` for what is neither ``http(s)://host…`` nor ``file:<name>``."""
    try:
        parts = urlsplit(url)
        good = parts.scheme == "file" or (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        )
    except ValueError:
        good = False
    if not good:
        raise BmcFault("bad-params", "the image's URL is neither http(s)://… nor file:<name>")


def _shown(url: str) -> str:
    """Return a URL without user, password and query, which may hold secrets."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return url[:200]
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"[:300]


def _matches(path: Path) -> bool:
    """Tell whether a file's sha256 is its name; one that is not is removed."""
    try:
        with path.open("rb") as file:
            good = hashlib.file_digest(file, "sha256").hexdigest() == path.name
    except FileNotFoundError:
        return False
    if not good:
        path.unlink(missing_ok=True)
    return good


async def _file_chunks(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(_CHUNK):
            yield chunk
