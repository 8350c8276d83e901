"""The executor's web server: images and seeds for BMCs, reports from booted machines.

A URL holds a token made by HMAC from the server's secret and what it is for, so that it cannot be
guessed, differs for each attempt, and is the same again after a crash. What is published is kept
beside the images, so a BMC reads on when the executor comes back.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import anyio
import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from mulligan.redfish.image_cache import ImageCache, Limits, checked_sha256
from mulligan.redfish.media_trust import MediaTrust
from mulligan.redfish.publications import Publication, PublicationLimits, Publications
from mulligan.redfish.report_intake import ReportIntake
from mulligan.redfish.reports import MAX_BODY, OnReport, ReportKind
from mulligan.redfish.tokens import TokenMaker
from mulligan.tls import TlsFiles, certificates_in, web_context
from mulligan.tls_live import LiveContext

IMAGE_NAME = "image.iso"
SEED_NAME = "seed.iso"

_COUNTED = 10_000
_TYPES = {".efi": "application/efi"}
_MEDIA_PATH = re.compile(r"/media/([0-9a-f]{64})/[\w.-]+\Z")
_BOOT_SUFFIXES = (".efi", ".iso", ".img")


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

    ``public_url`` is how BMCs reach it, such as ``https://10.0.0.5:8090``; without it, the
    listening address is used. ``machines_url`` is how booted machines reach it, where that is
    another. Without ``on_report`` no report is taken. Keep ``port``, ``folder`` and ``secret``
    over restarts. With ``tls`` it speaks HTTPS, with the files as they are while it runs, and BMCs
    are told to ``verify`` it where they can be.
    """

    def __init__(
        self,
        folder: Path,
        *,
        secret: bytes,
        host: str = "127.0.0.1",
        port: int = 0,
        public_url: str = "",
        machines_url: str = "",
        images: Path | None = None,
        limits: Limits | None = None,
        publication_limits: PublicationLimits | None = None,
        on_report: OnReport | None = None,
        tls: TlsFiles | None = None,
        verify: bool = True,
    ) -> None:
        self._tls = tls
        self._verify = verify
        self._live = LiveContext(tls, web_context) if tls is not None else None
        self._tokens = TokenMaker(secret)
        self._host = host
        self._port = port
        self._public_url = public_url.rstrip("/")
        self._machines_url = machines_url.rstrip("/")
        self._published = Publications(folder, self._tokens, publication_limits)
        self._fetched: OrderedDict[str, Fetched] = OrderedDict()
        self._intake = None if on_report is None else ReportIntake(self._tokens, on_report)
        self._runner: web.AppRunner | None = None
        self.cache = ImageCache(
            folder / "images", images=images, limits=limits, in_use=self._published.checksums
        )

    async def __aenter__(self) -> Self:
        self.cache.prepare()
        self._published.load()
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/media/{token}/{name}", self._serve)
        if self._intake is not None:
            self._intake.add_to(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        context = self._live.context if self._live is not None else None
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=context)
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
        scheme = "http" if self._tls is None else "https"
        return self._public_url or f"{scheme}://{host}:{self._port}"

    # -- trust -------------------------------------------------------------------------------

    @property
    def authorities(self) -> tuple[str, ...]:
        """Who vouches for this server, the newest first (PEM); nobody for plain HTTP."""
        if self._tls is None:
            return ()
        return tuple(pem.decode() for pem in certificates_in(self._tls.ca.read_bytes()))

    @property
    def trust(self) -> MediaTrust | None:
        """What BMCs are told of whom to trust; nothing for plain HTTP."""
        newest = self.authorities[:1]
        return MediaTrust(ca=newest[0], verify=self._verify) if newest else None

    async def keep_current(self) -> None:
        """Go by the newest certificate; runs for ever."""
        if self._live is not None:
            await self._live.keep_current()

    # -- images ------------------------------------------------------------------------------

    async def stage(self, image_url: str, sha256: str) -> Path:
        """Have the image downloaded and verified; idempotent. Raise BmcFault."""
        return await self.cache.stage(image_url, sha256)

    def publish(
        self,
        image_url: str,
        sha256: str,
        attempt_id: str,
        *,
        machine: str = "",
        name: str = IMAGE_NAME,
    ) -> str:
        """Return the URL of the image for this attempt: the same each time, until withdrawn.

        The image need not be staged yet; until it is, the URL answers 404.
        """
        what = Publication(
            kind="image",
            name=name,
            attempt=attempt_id,
            machine=machine,
            image_url=image_url,
            sha256=checked_sha256(sha256),
        )
        return self._media_url(self._published.add(what), name)

    # -- seeds -------------------------------------------------------------------------------

    def seed_url(self, machine: str, operation: str, attempt_id: str) -> str:
        """Return the URL that a seed has, or would have."""
        what = _seed(machine, operation, attempt_id)
        return self._media_url(self._published.token(what), SEED_NAME)

    def publish_seed(self, machine: str, operation: str, attempt_id: str, content: bytes) -> str:
        """Serve a seed until it is withdrawn, over restarts too; return its URL.

        Raise ``disk-full`` when the seeds published take too much.
        """
        what = _seed(machine, operation, attempt_id)
        return self._media_url(self._published.add(what, content), SEED_NAME)

    # -- both --------------------------------------------------------------------------------

    def withdraw(self, url: str) -> bool:
        """Stop serving a URL; tell whether it was one of ours. Idempotent."""
        return self._withdraw(_token_of(url))

    def withdraw_all(self, machine: str, *, but: str = "") -> int:
        """Stop serving whatever was published for a machine, ``but`` one URL; return how much."""
        tokens = [t for t in self._published.of_machine(machine) if t != _token_of(but)]
        return sum(self._withdraw(token) for token in tokens)

    def _withdraw(self, token: str) -> bool:
        self._fetched.pop(token, None)
        return self._published.withdraw(token)

    def fetched(self, url: str) -> Fetched:
        """Tell how much of a URL was read since this process started."""
        return self._fetched.get(_token_of(url), Fetched())

    # -- reports -----------------------------------------------------------------------------

    def report_url(self, kind: ReportKind, machine: str, operation: str) -> str:
        """Return where the machine reports for this operation: the same on every executor."""
        token = self._tokens.make(kind, machine, operation)
        return f"{self._machines_url or self.url}/{kind}/{machine}/{operation}/{token}"

    # -- serving -----------------------------------------------------------------------------

    def _media_url(self, token: str, name: str) -> str:
        return f"{self.url}/media/{token}/{name}"

    def _path(self, token: str, name: str) -> Path | None:
        what = self._published.find(token)
        if what is None or what.name != name:
            return None
        seed = what.kind == "seed"
        path = self._published.seed_path(token) if seed else self.cache.path(what.sha256)
        return path if path.is_file() else None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        token, name = request.match_info["token"], request.match_info["name"]
        path = self._path(token, name)
        if path is None:
            raise web.HTTPNotFound
        kind = _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
        counted = partial(self._count, token, path) if request.method == "GET" else None
        return _FileResponse(path, headers={"Content-Type": kind}, on_sent=counted)

    def _count(self, token: str, path: Path, sent: int) -> None:
        if self._published.find(token) is None:
            return  # withdrawn while it was sent
        so_far = self._fetched.pop(token, Fetched())
        size = so_far.size or path.stat().st_size
        self._fetched[token] = Fetched(
            requests=so_far.requests + 1, bytes=so_far.bytes + sent, size=size
        )
        if len(self._fetched) > _COUNTED:
            self._fetched.popitem(last=False)


class _FileResponse(web.FileResponse):
    """Tells how many bytes it sent; it is sent whole while it is prepared."""

    def __init__(
        self, path: Path, *, headers: dict[str, str], on_sent: Callable[[int], None] | None
    ) -> None:
        super().__init__(path, headers=headers)
        self._on_sent = on_sent

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        writer = await super().prepare(request)
        if self._on_sent is not None:
            self._on_sent(self.content_length or 0)
        return writer


def boot_name(image_url: str) -> str:
    """Return the file name under which firmware boots an image: it goes by the suffix."""
    suffix = PurePosixPath(urlsplit(image_url).path).suffix.lower()
    return f"boot{suffix if suffix in _BOOT_SUFFIXES else '.efi'}"


def is_seed(url: str) -> bool:
    """Tell whether a URL is that of a seed, whichever executor published it."""
    return bool(_token_of(url)) and url.endswith(f"/{SEED_NAME}")


def _seed(machine: str, operation: str, attempt_id: str) -> Publication:
    return Publication(
        kind="seed", name=SEED_NAME, attempt=attempt_id, machine=machine, operation=operation
    )


def _token_of(url: str) -> str:
    """Return the token of a media URL, which a BMC may show without its scheme or host."""
    match = _MEDIA_PATH.search(url)
    return match[1] if match else ""
