"""Where the files of an archive lie: a folder, or object storage.

A file appears whole or not at all, and is durable once ``put`` returns. Names are relative paths of
plain words, such as ``segments/0…1-0…9.mlog.zst``.
"""

import os
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, Protocol, TypeVar

import anyio
import msgspec
import obstore
from anyio import to_thread
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import from_url

from mulligan.config import Location
from mulligan.errors import BadConfiguration, Corrupt, NotFound, Unavailable

DEADLINE_S = 60.0
"""Seconds that one call may take."""
MAX_FILE = 512 * 2**20
"""Bytes; no larger file is read."""
MAX_FILES = 1_000_000

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound|bucket does not exist")
_CHUNK = 1000
_STRAY_S = 3600.0


class File(msgspec.Struct, frozen=True, order=True):
    """A file of a depot, and its bytes."""

    name: str
    size: int


class Depot(Protocol):
    """A place for files. Every call is bounded in time and raises Unavailable when it is away."""

    @property
    def location(self) -> str:
        """The folder or URL."""

    async def put(self, name: str, data: bytes) -> None:
        """Store a file durably; it replaces one of that name at once and whole."""

    async def get(self, name: str) -> bytes:
        """Return a file; raise NotFound if there is none."""

    async def list(self, prefix: str = "", after: str = "") -> Sequence[File]:
        """Return the files whose names begin with ``prefix`` and come after ``after``, by name."""

    async def delete(self, name: str) -> None:
        """Remove a file, if it is there."""


def open_depot(location: Location | str) -> Depot:
    """Return the depot at a location; raise BadConfiguration for a URL that cannot be used.

    Nothing is asked of it yet. Object storage takes its credentials, and where to find it, from the
    environment: ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL`` and their like.
    """
    parsed = Location.parse(str(location))
    if parsed.folder is not None:
        return FolderDepot(parsed.folder)
    return ObjectDepot(parsed)


class FolderDepot:
    """Files in a folder that only its owner reads."""

    def __init__(self, folder: Path, deadline: float = DEADLINE_S) -> None:
        self._folder = folder
        self._deadline = deadline

    @property
    def location(self) -> str:
        """The folder."""
        return str(self._folder)

    async def put(self, name: str, data: bytes) -> None:
        """Write a draft, sync it, let it take its place, and sync the folder."""
        await self._run(partial(_write, self._folder, self._path(name), data))

    async def get(self, name: str) -> bytes:
        """Read a file."""
        return await self._run(partial(_read, self._path(name), name))

    async def list(self, prefix: str = "", after: str = "") -> Sequence[File]:
        """Walk the folder; drafts do not count."""
        found = await self._run(partial(_walk, self._folder))
        return _chosen(found, prefix, after)

    async def delete(self, name: str) -> None:
        """Unlink a file."""
        await self._run(partial(_unlink, self._path(name)))

    def _path(self, name: str) -> Path:
        return self._folder / _checked(name)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            with anyio.fail_after(self._deadline):
                return await to_thread.run_sync(work, abandon_on_cancel=True)
        except TimeoutError as error:
            raise Unavailable(f"the archive in {self._folder} does not answer", 5.0) from error
        except OSError as error:
            raise Unavailable(
                f"the archive in {self._folder} cannot be used: {error.strerror or error}; see to"
                " the folder of archive.location, its owner and its space",
                5.0,
            ) from error


class ObjectDepot:
    """Objects below a URL of object storage."""

    def __init__(self, url: str, deadline: float = DEADLINE_S) -> None:
        self._url = url.rstrip("/")
        self._deadline = deadline
        limit = timedelta(seconds=deadline)
        retry: Any = {"max_retries": 3, "retry_timeout": limit}
        options: Any = {"timeout": limit, "connect_timeout": timedelta(seconds=5)}
        if os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"true", "1", "yes", "on"}:
            options["allow_http"] = True  # options of our own go before the whole environment
        try:
            self._store: Any = from_url(self._url, client_options=options, retry_config=retry)
        except (BaseError, ValueError) as error:
            raise BadConfiguration(
                f"archive.location {self._url!r} cannot be used: {_brief(error)}"
            ) from error

    @property
    def location(self) -> str:
        """The URL."""
        return self._url

    async def put(self, name: str, data: bytes) -> None:
        """Store an object."""
        async with self._asked():
            await obstore.put_async(self._store, _checked(name), data)

    async def get(self, name: str) -> bytes:
        """Fetch an object."""
        try:
            async with self._asked():
                found = await obstore.get_async(self._store, _checked(name))
                _require_size(name, found.meta["size"])
                return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise NotFound("archived file", name) from error

    async def list(self, prefix: str = "", after: str = "") -> Sequence[File]:
        """List objects; storage itself lists by whole words between slashes."""
        folder = prefix.rpartition("/")[0] or None
        files: list[File] = []
        async with self._asked():
            chunks = obstore.list(self._store, folder, offset=after or None, chunk_size=_CHUNK)
            async for chunk in chunks:
                files += [File(one["path"], one["size"]) for one in chunk]
                _require_few(len(files), self._url)
        return _chosen(files, prefix, after)

    async def delete(self, name: str) -> None:
        """Remove an object."""
        with suppress(FileNotFoundError):
            async with self._asked():
                await obstore.delete_async(self._store, _checked(name))

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[None]:
        try:
            with anyio.fail_after(self._deadline):
                yield
        except TimeoutError as error:
            raise Unavailable(f"the archive at {self._url} does not answer", 5.0) from error
        except (BaseError, OSError) as error:
            cure = self._cure(error)
            if cure is None:
                raise  # there is no such object
            raise Unavailable(f"the archive at {self._url} {cure}", 5.0) from error

    def _cure(self, error: BaseException) -> str | None:
        """Return what is wrong and what to see to; None if it is only that an object is missing."""
        if _NO_BUCKET.search(str(error)):
            return "has no bucket: make it, or see to archive.location"
        match error:
            case FileNotFoundError():
                return None
            case PermissionDeniedError() | UnauthenticatedError():
                what = "refuses us", "the credentials in the environment of this process"
            case _:
                what = "cannot be used", "archive.location and the environment of this process"
        return f"{what[0]}: {_brief(error)}; see to {what[1]}"


def _chosen(files: Sequence[File], prefix: str, after: str) -> Sequence[File]:
    return sorted(one for one in files if one.name.startswith(prefix) and one.name > after)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Corrupt(f"{name!r} is no name of an archived file")
    return name


def _brief(error: BaseException) -> str:
    """Return the first line of what the storage library says, which may be a page of debris."""
    text = str(error).strip()
    return (text.splitlines() or [type(error).__name__])[0][:300]


def _require_size(name: str, size: int) -> None:
    if size > MAX_FILE:
        raise Corrupt(f"the archived file {name} has {size} bytes, more than any segment")


def _require_few(count: int, location: str) -> None:
    if count > MAX_FILES:
        raise Corrupt(f"{location} holds more than {MAX_FILES} files: this is no archive of a log")


def _write(root: Path, path: Path, data: bytes) -> None:
    _make_folder(root, path.parent)
    _clear_drafts(path.parent)
    draft = path.with_name(f".{path.name}.{token_hex(4)}.draft")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _clear_drafts(folder: Path) -> None:
    """Remove what writers that were killed left behind."""
    for draft in folder.glob(".*.draft"):
        with suppress(FileNotFoundError):
            if draft.stat().st_mtime < time.time() - _STRAY_S:
                draft.unlink()


def _make_folder(root: Path, folder: Path) -> None:
    if folder.is_dir():
        return
    if folder != root:
        _make_folder(root, folder.parent)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            _require_size(name, os.fstat(file.fileno()).st_size)
            return file.read(MAX_FILE + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFound("archived file", name) from error


def _walk(root: Path) -> list[File]:
    files: list[File] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [one for one in folders if not one.startswith(".")]
        for one in names:
            path = Path(folder) / one
            if not one.startswith("."):
                with suppress(FileNotFoundError):  # it went while we walked
                    files.append(File(path.relative_to(root).as_posix(), path.stat().st_size))
        _require_few(len(files), str(root))
    return files


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        _sync_folder(path.parent)
