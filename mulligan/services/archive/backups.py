"""Whether what the archive does not hold, the sealed secrets, was saved, and when.

``mulligan backup`` leaves a mark in etcd; the archiver holds it against what changed since.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from mulligan.errors import Corrupt
from mulligan.log.etcd import Etcd, prefix_end
from mulligan.log.identity import identity_of
from mulligan.log.keys import Keys
from mulligan.model import RegionName, utc_now

Kind = Literal["secrets", "etcd"]

FIRST_DAY = timedelta(days=1)
"""How long a new region may be without a backup."""
STALE = timedelta(days=2)
"""How old a backup may be that something changed after; one a day never is."""
MOST = 1000
"""Secrets newer than the backup that are counted."""


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """That secrets were saved whole: when, and as of which revision of etcd, or of a later one."""

    at: datetime
    revision: int


class Backups(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of backups: since when there is something to save, and the newest of them.

    ``newer`` secrets were made or changed after that, of which ``MOST`` are counted.
    """

    since: datetime
    saved: Saved | None
    newer: int


_decoder = msgspec.json.Decoder(Saved)


async def revision_of(etcd: Etcd, region: RegionName) -> int:
    """Return the revision to note once what is read from now on is saved."""
    return (await etcd.range(Keys(region).identity, keys_only=True)).revision


async def note(etcd: Etcd, region: RegionName, kind: Kind, revision: int) -> None:
    """Note that everything up to a revision was saved; raise what etcd raises."""
    saved = Saved(at=utc_now(), revision=revision)
    await etcd.put(Keys(region).backup + kind, msgspec.json.encode(saved))


async def look(etcd: Etcd, region: RegionName) -> Backups | None:
    """Return what is known of a region's backups; None while there is no region.

    Raise Unavailable when etcd is away, Corrupt for marks that are none.
    """
    keys = Keys(region)
    identity = await identity_of(etcd, region)
    if identity is None:
        return None
    marks = [_read(kv.key, kv.value) for kv in (await etcd.range_prefix(keys.backup)).kvs]
    saved = max(marks, key=lambda mark: mark.at, default=None)
    newer = await etcd.range(
        keys.secret,
        prefix_end(keys.secret),
        limit=MOST,
        keys_only=True,
        changed_after=saved.revision if saved is not None else 0,
    )
    since = datetime.fromisoformat(identity.created_at)
    return Backups(since=since, saved=saved, newer=len(newer.kvs))


def overdue(found: Backups, now: datetime) -> bool:
    """Tell whether a region is without a backup, or with one too old, for too long. Pure."""
    if found.saved is None:
        return now - found.since > FIRST_DAY
    return found.newer > 0 and now - found.saved.at > STALE


def _read(key: str, value: bytes) -> Saved:
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{key} cannot be read: {error}; run `mulligan backup` again") from error
