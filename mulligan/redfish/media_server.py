"""The executor's HTTP server for images: what BMCs read their virtual media from.

A URL holds a token made by HMAC from the server's secret, the attempt and the image, so that it
cannot be guessed, differs for each attempt, and is the same again after a crash. What is published
is kept in small files beside the images, so a BMC reads on when the executor comes back.
"""

import hmac
from hashlib import sha256 as sha256_of
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import anyio
import msgspec
from aiohttp import web

from mulligan.redfish.faults import BmcFault
from mulligan.redfish.image_cache import ImageCache, Limits, checked_sha256

_MAX_PUBLISHED = 10_000


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """One published image: who it is for and what it is."""

    attempt: str
    image_url: str
    sha256: str


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a URL was read since this process started; ``size`` is the image's, in bytes."""

    requests: int = 0
    bytes: int = 0
    size: int = 0

    @property
    def complete(self) -> bool:
        """Whether as many bytes as the image has were read."""
        return 0 < self.size <= self.bytes


class MediaServer:
    """Stages images and serves them; an async context manager that listens while it is open.

    ``public_url`` is how BMCs reach it, such as ``http://10.0.0.5:8090``; without it, the
    listening address is used. Keep ``port``, ``folder`` and ``secret`` over restarts.
    """

    def __init__(
        self,
        folder: Path,
        *,
        secret: bytes,
        host: str = "127.0.0.1",
        port: int = 0,
        public_url: str = "",
        images: Path | None = None,
        limits: Limits | None = None,
    ) -> None:
        if len(secret) < 16:
            raise ValueError("the media server's secret must have at least 16 bytes")
        self._secret = secret
        self._host = host
        self._port = port
        self._public_url = public_url.rstrip("/")
        self._records = folder / "published"
        self._published: dict[str, Publication] = {}
        self._fetched: dict[str, Fetched] = {}
        self._runner: web.AppRunner | None = None
        self.cache = ImageCache(
            folder / "images", images=images, limits=limits, in_use=self._checksums_in_use
        )

    async def __aenter__(self) -> Self:
        self.cache.prepare()
        self._records.mkdir(parents=True, exist_ok=True)
        self._load()
        app = web.Application()
        app.router.add_get("/media/{token}/{name}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The base URL that BMCs read from."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return self._public_url or f"http://{host}:{self._port}"

    async def stage(self, image_url: str, sha256: str) -> Path:
        """Have the image downloaded and verified; idempotent. Raise BmcFault."""
        return await self.cache.stage(image_url, sha256)

    def publish(self, image_url: str, sha256: str, attempt_id: str) -> str:
        """Return the URL of the image for this attempt: the same each time, until withdrawn.

        The image need not be staged yet; until it is, the URL answers 404.
        """
        what = Publication(attempt=attempt_id, image_url=image_url, sha256=checked_sha256(sha256))
        token = self._token(what)
        if token not in self._published:
            if len(self._published) >= _MAX_PUBLISHED:
                raise BmcFault("disk-full", f"{_MAX_PUBLISHED} images are published already")
            self._keep(token, what)
            self._published[token] = what
        return f"{self.url}/media/{token}/image.iso"

    def withdraw(self, url: str) -> bool:
        """Stop serving a URL; tell whether it was one of ours. Idempotent."""
        token = _token_of(url)
        if self._published.pop(token, None) is None:
            return False
        self._fetched.pop(token, None)
        (self._records / token).unlink(missing_ok=True)
        return True

    def fetched(self, url: str) -> Fetched:
        """Tell how much of a URL was read since this process started."""
        return self._fetched.get(_token_of(url), Fetched())

    def _token(self, what: Publication) -> str:
        message = "\n".join((what.attempt, what.image_url, what.sha256)).encode()
        return hmac.new(self._secret, message, sha256_of).hexdigest()

    def _keep(self, token: str, what: Publication) -> None:
        fresh = self._records / f"{token}.new"
        fresh.write_bytes(msgspec.json.encode(what))
        fresh.replace(self._records / token)

    def _load(self) -> None:
        """Publish again what was published before a restart, under the same secret only."""
        for path in self._records.iterdir():
            try:
                what = msgspec.json.decode(path.read_bytes(), type=Publication)
            except (OSError, msgspec.MsgspecError):
                what = None
            if what is not None and hmac.compare_digest(self._token(what), path.name):
                self._published[path.name] = what
            else:
                path.unlink(missing_ok=True)

    def _checksums_in_use(self) -> set[str]:
        return {what.sha256 for what in self._published.values()}

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        token = request.match_info["token"]
        what = self._published.get(token)
        path = None if what is None else self.cache.path(what.sha256)
        if path is None or not path.is_file():
            raise web.HTTPNotFound
        response = web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})
        # A file response is sent whole while it is prepared.
        await response.prepare(request)
        if request.method == "GET":
            self._count(token, response.content_length or 0, path.stat().st_size)
        return response

    def _count(self, token: str, sent: int, size: int) -> None:
        so_far = self._fetched.get(token, Fetched())
        self._fetched[token] = Fetched(
            requests=so_far.requests + 1, bytes=so_far.bytes + sent, size=size
        )


def _token_of(url: str) -> str:
    try:
        segments = urlsplit(url).path.split("/")
    except ValueError:
        return ""
    return segments[2] if len(segments) == 4 and segments[1] == "media" else ""
