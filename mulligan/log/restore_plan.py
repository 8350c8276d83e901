"""What a restore finds in etcd and an archive, and what it does about that: decided, not done."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from mulligan.errors import Corrupt, FailedPrecondition
from mulligan.log.depot import Depot
from mulligan.log.etcd import Etcd, KeyValue
from mulligan.log.holding import Holding, Proven, prove
from mulligan.log.identity import Ancestor, Identity, read_identity
from mulligan.log.keys import Keys
from mulligan.log.segment import Manifest, Owner
from mulligan.log.store import HeadRecord
from mulligan.log.vouching import LogKey, Vouched
from mulligan.model import RegionName, Seq, new_id, utc_now

KEEP_ENTRIES = 5_000
"""So many of the newest entries go into an empty etcd, and all that are in no segment."""
KEEP_BYTES = 64 * 2**20
TIMEOUT_S = 15.0

_head_decoder = msgspec.json.Decoder(HeadRecord)

Progress = Callable[[str, int, int], None]
"""Is told what is done (``verify``, ``copy``, ``write``), how much of it, and of how much."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be restored: up to ``to`` (an entry or a time; None: all), for ``region``.

    ``keys`` are the log keys to trust, None those that the log announces.
    """

    region: RegionName
    to: Seq | datetime | None = None
    keys: tuple[LogKey, ...] | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is in etcd now; tokens are revisions, 0 for what is not there."""

    identity: Identity | None
    identity_token: int
    head: HeadRecord | None
    head_token: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore does: writes entries [first, last], under an identity, beside ``segments``.

    ``fork`` says that the log becomes another one, which goes on from the archived one.
    """

    mode: Literal["nothing", "fill", "extend"]
    identity: Identity
    fork: bool
    first: Seq
    last: Seq
    hash: str
    at: datetime
    commits: int
    vouched: Vouched | None
    segments: tuple[Manifest, ...]


async def look(etcd: Etcd, region: RegionName) -> Found:
    """Return what a region's etcd holds of a log."""
    keys = Keys(region)
    found = await etcd.range(keys.head, keys.identity + "\0", timeout=TIMEOUT_S)
    at: Mapping[str, KeyValue] = {kv.key: kv for kv in found.kvs}
    head, identity = at.get(keys.head), at.get(keys.identity)
    try:
        record = _head_decoder.decode(head.value) if head is not None else None
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{keys.head} cannot be read: {error}") from error
    return Found(
        identity=read_identity(identity.value, identity.key) if identity is not None else None,
        identity_token=identity.mod_revision if identity is not None else 0,
        head=record,
        head_token=head.mod_revision if head is not None else 0,
    )


async def plan_restore(
    found: Found, depot: Depot, holding: Holding, wish: Wish, progress: Progress
) -> Plan:
    """Prove the archive and decide what is to be done; change nothing.

    Raise FailedPrecondition where a restore would overwrite or mix logs, Corrupt for an archive
    that does not hold.
    """
    head = found.head.seq if found.head is not None else Seq(0)
    total = holding.last
    proven = await prove(
        depot,
        holding,
        to=wish.to,
        keys=wish.keys,
        note=(head,),
        newest=KEEP_ENTRIES,
        progress=lambda seq: progress("verify", seq, total),
    )
    return decide(found, holding, proven, wish)


def decide(found: Found, holding: Holding, proven: Proven, wish: Wish) -> Plan:
    """Return what to do about what was found, given an archive that was proven."""
    owner = holding.owner
    if found.identity is None and found.head is not None:
        raise FailedPrecondition("etcd holds a log's head without its identity: look at it first")
    if found.identity is not None and not found.identity.restoring:
        return _extension(found, holding, proven, wish)
    fork = owner.region != wish.region or proven.last < holding.last
    segments = tuple(one for one in holding.segments if one.last <= proven.last)
    return _plan(
        "fill",
        holding,
        proven,
        identity=_identity(found, owner, proven, fork=fork),
        fork=fork,
        first=_first_kept(proven, segments[-1].last if segments else 0),
    )


def _identity(found: Found, owner: Owner, proven: Proven, *, fork: bool) -> Identity:
    """Return who the log is to be: who it was, or one that goes on from that."""
    if not fork:
        log_id, seeded = owner.log_id, owner.seeded
    else:
        origin = Ancestor(
            region=owner.region, log_id=owner.log_id, seq=proven.last, hash=proven.hash
        )
        older = (one for one in owner.seeded if one.seq < proven.last)
        log_id, seeded = new_id(), (*older, origin)
    begun = found.identity
    if fork and begun is not None and begun.seeded == seeded:
        log_id = begun.log_id
    return Identity(log_id=log_id, created_at=utc_now().isoformat(), seeded=seeded)


def _first_kept(proven: Proven, sealed: int) -> Seq:
    """Return the first entry that goes into etcd: some of the newest, and what no segment has."""
    size = count = 0
    for one in reversed(proven.sizes):
        size += one
        if count == KEEP_ENTRIES or size > KEEP_BYTES:
            break
        count += 1
    return Seq(max(1, min(proven.last - count + 1, sealed + 1, proven.last)))


def _extension(found: Found, holding: Holding, proven: Proven, wish: Wish) -> Plan:
    identity, head, owner = found.identity, found.head, holding.owner
    assert identity is not None
    if identity.log_id != owner.log_id:
        raise FailedPrecondition(
            f"etcd holds the log {identity.log_id} of {wish.region} already, and the archive at"
            f" {holding.location} is of {owner.log_id} of {owner.region}: two logs are never mixed."
            " Restore into a region whose etcd is empty"
        )
    if wish.to is not None:
        raise FailedPrecondition(
            "--to cuts a log, and there is one in etcd already: restore into an empty etcd"
        )
    seq = head.seq if head is not None else Seq(0)
    expected = proven.noted.get(seq)
    if head is not None and seq <= holding.last and expected != head.hash:
        raise FailedPrecondition(
            f"entry {seq} in etcd is not the one in the archive at {holding.location}: the log went"
            " on after it was put back, and there are two histories. Keep etcd as it is for"
            " evidence, and restore from the archive into an empty etcd"
        )
    behind = seq < holding.last
    return _plan(
        "extend" if behind else "nothing",
        holding,
        proven,
        identity=identity,
        fork=False,
        first=Seq(seq + 1),
    )


def _plan(
    mode: Literal["nothing", "fill", "extend"],
    holding: Holding,
    proven: Proven,
    *,
    identity: Identity,
    fork: bool,
    first: Seq,
) -> Plan:
    return Plan(
        mode=mode,
        identity=identity,
        fork=fork,
        first=first,
        last=proven.last,
        hash=proven.hash,
        at=proven.at,
        commits=proven.commits,
        vouched=proven.vouched,
        segments=tuple(one for one in holding.segments if one.last <= proven.last),
    )
