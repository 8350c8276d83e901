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
from mulligan.quantities import format_span

Kind = Literal["secrets", "etcd"]

FIRST_DAY = timedelta(days=1)
"""How long a new region may be without a backup."""
STALE = timedelta(days=2)
"""How old a backup may be that something changed after; one a day never is."""


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """That secrets were saved whole: when, and as of which revision of etcd, or of a later one."""

    at: datetime
    revision: int


class Backups(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of backups: since when there is something to save, and the newest of them.

    ``changed`` tells whether a secret was made or changed after that.
    """

    since: datetime
    saved: Saved | None
    changed: bool


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
    changed = False
    if saved is not None:
        prefix = keys.secret
        newer = await etcd.range(
            prefix, prefix_end(prefix), limit=1, keys_only=True, changed_after=saved.revision
        )
        changed = bool(newer.kvs)
    return Backups(since=datetime.fromisoformat(identity.created_at), saved=saved, changed=changed)


def overdue(found: Backups, now: datetime) -> str:
    """Return in words what is wrong with the backups, if anything is. Pure."""
    if found.saved is None:
        if now - found.since <= FIRST_DAY:
            return ""
        age = format_span((now - found.since).total_seconds())
        return (
            f"in {age} the sealed secrets (BMC logins, accounts' secrets, user data) were never"
            " saved; with etcd's disk they are gone"
        )
    age = format_span((now - found.saved.at).total_seconds())
    if found.changed and now - found.saved.at > STALE:
        return f"sealed secrets were saved {age} ago, and some are newer than that"
    return ""


def _read(key: str, value: bytes) -> Saved:
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{key} cannot be read: {error}; run `mulligan backup` again") from error
