"""Which log a region's log is, and which logs it goes on from."""

from collections.abc import Iterable

import msgspec

from mulligan.errors import Corrupt, Unavailable
from mulligan.log.etcd import Etcd
from mulligan.log.keys import Keys
from mulligan.model import RegionName, Seq


class Ancestor(msgspec.Struct, frozen=True, kw_only=True):
    """Another log, of which entries up to ``seq`` were taken over; ``hash`` is that entry's."""

    region: str
    log_id: str
    seq: Seq
    hash: str


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Which log this is; ``created_at`` is RFC 3339.

    ``seeded`` are the logs that it goes on from, the oldest first. ``restoring`` says that only
    part of it is there, and of what it is to become, as long as a restore is under way.
    """

    log_id: str
    created_at: str
    seeded: tuple[Ancestor, ...] = ()
    restoring: str = ""

    def of(self, log_id: str, seq: int) -> Ancestor | None:
        """Return the ancestor of this id if entry ``seq`` was taken over from it."""
        return ancestor_of(self.seeded, log_id, seq)


_decoder = msgspec.json.Decoder(Identity)


def ancestor_of(seeded: Iterable[Ancestor], log_id: str, seq: int) -> Ancestor | None:
    """Return the ancestor of this id if entry ``seq`` was taken over from it."""
    return next((one for one in seeded if one.log_id == log_id and seq <= one.seq), None)


def read_identity(value: bytes, key: str) -> Identity:
    """Read an identity; raise Corrupt, naming the key, for what is none."""
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{key} cannot be read: {error}") from error


def require_whole(identity: Identity) -> None:
    """Raise Unavailable while the log is being restored."""
    if identity.restoring:
        raise Unavailable(
            f"the log is being restored to {identity.restoring}; if no `mulligan archive restore`"
            " runs any more, run it again: it goes on",
            2.0,
        )


async def identity_of(etcd: Etcd, region: RegionName) -> Identity | None:
    """Return the identity of a region's log, None where there is no log."""
    key = Keys(region).identity
    found = await etcd.get(key)
    return read_identity(found.value, key) if found is not None else None
