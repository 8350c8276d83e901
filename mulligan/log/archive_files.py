"""An archive as its depot holds it, read without etcd: whose it is, its segments, and the copy."""

import asyncio
import hashlib
import io
from collections.abc import Sequence

import msgspec
from anyio import to_thread

from mulligan.errors import Corrupt, FailedPrecondition, NotFound
from mulligan.log.depot import Depot
from mulligan.log.export_file import Reader
from mulligan.log.segment import (
    COPY,
    FOLDER,
    MANIFEST_SUFFIX,
    OWNER,
    Manifest,
    Owner,
    Packed,
    manifest_name,
    read_manifest,
    read_owner,
)
from mulligan.model import Seq

_AT_ONCE = 16


async def owner_of(depot: Depot) -> Owner | None:
    """Return whose archive a depot holds, or None if it holds none."""
    try:
        return read_owner(await depot.get(OWNER), depot.location)
    except NotFound:
        return None


async def claim(depot: Depot, owner: Owner) -> None:
    """Make the depot this log's archive; raise FailedPrecondition if it is another log's."""
    found = await owner_of(depot)
    if found is None:
        await depot.put(OWNER, msgspec.json.encode(owner))
    elif (found.region, found.log_id) != (owner.region, owner.log_id):
        raise FailedPrecondition(
            f"{depot.location} holds the archive of {found.region}, log {found.log_id}, and this is"
            f" {owner.region}, log {owner.log_id}; give archive.location a place of its own"
        )


async def manifests_in(depot: Depot, after: str = "") -> Sequence[Manifest]:
    """Return every manifest beside a segment, by name; raise Corrupt for one that is damaged."""
    files = await depot.list(FOLDER, after)
    names = [file.name for file in files if file.name.endswith(MANIFEST_SUFFIX)]
    found: list[Manifest] = []
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        pages = await asyncio.gather(*(depot.get(name) for name in some))
        found += [read_manifest(page, name) for page, name in zip(pages, some, strict=True)]
    return found


async def the_copy(depot: Depot) -> Packed | None:
    """Return the copy of what was not sealed, or None if there is none.

    It proves itself; where the manifest beside it is older than it is, one is made up from it, not
    signed. Raise Corrupt for a copy that is damaged.
    """
    try:
        data = await depot.get(COPY)
    except NotFound:
        return None
    try:
        beside = read_manifest(await depot.get(manifest_name(COPY)), manifest_name(COPY))
        if beside.sha256 == await to_thread.run_sync(_digest, data):
            return Packed(beside, data)
    except (NotFound, Corrupt):
        pass  # the file was written, and the archiver killed before the manifest was
    return Packed(await to_thread.run_sync(described, data, COPY), data)


def described(data: bytes, name: str) -> Manifest:
    """Return an unsigned manifest of an export, all of which is checked; for a thread."""
    reader = Reader(io.BytesIO(data), name)
    header, first, last = reader.header, None, None
    events = size = 0
    for stored in reader.entries():
        first, last = first or stored, stored
        events += sum(len(commit.events) for commit in stored.entry.commits)
        size += len(stored.value)
    assert first is not None and last is not None, "an export holds at least one entry"
    return Manifest(
        region=header.region,
        log_id=header.log_id,
        first=header.first,
        last=Seq(header.last),
        first_at=first.entry.at,
        last_at=last.entry.at,
        events=events,
        prev=header.prev,
        hash=last.hash,
        raw_bytes=size,
        bytes=len(data),
        sha256=_digest(data),
        name=name,
        sealed_at=last.entry.at,
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
