"""Which format of events a region's log may hold: none that a live service cannot read.

The format stands in etcd and only rises. It rises when a command first needs it, in a transaction
that holds only if no service has registered since all were seen to read it; and a service registers
only if it reads the format that stands. So none ever meets an event that it does not know.
"""

from collections.abc import Sequence

import msgspec

from mulligan.errors import FailedPrecondition, Unavailable
from mulligan.events.formats import FORMAT
from mulligan.log.etcd import Compare, Etcd, KeyValue, Put, prefix_end
from mulligan.log.keys import Keys
from mulligan.log.registry import Member, read_member
from mulligan.model import RegionName
from mulligan.trial import is_trial

ATTRIBUTE = "format"
"""The attribute in which a member says what it reads; one that says nothing reads format 1."""

_TRIES = 20
_NAMED = 5


class Stands(msgspec.Struct, frozen=True, kw_only=True):
    """The value of the key: ``format`` is 1 where there is none. ``release`` raised it."""

    format: int = 1
    release: str = ""


_decode = msgspec.json.Decoder(Stands).decode


class Format:
    """The format of one region's log, as one of its services reads and raises it.

    ``active`` is the newest format that may be written, as far as this process knows.
    """

    def __init__(
        self, etcd: Etcd, region: RegionName, release: str, *, reads: int = FORMAT
    ) -> None:
        self.active = 1
        self.reads = reads
        self._etcd = etcd
        self._keys = Keys(region)
        self._release = release

    async def admit(self) -> Sequence[Compare]:
        """Return what must hold when this service registers.

        Raise Unavailable while the log may hold what it cannot read.
        """
        found, stands = await self._found()
        if stands.format > self.reads:
            raise Unavailable(
                f"this log may hold events of format {stands.format}, since release"
                f" {stands.release}, and this release reads format {self.reads}: start a newer one",
                5.0,
            )
        return [Compare(self._keys.format, "mod", found.mod_revision if found else 0)]

    async def raise_to(self, wanted: int) -> None:
        """Let events of this format be written.

        Raise FailedPrecondition, naming them, while there are services that cannot read it. A dry
        run does no more than that.
        """
        for _ in range(_TRIES):
            found, stands = await self._found()
            if stands.format >= wanted:
                return
            prefix = self._keys.lease("service/")
            members = await self._etcd.range_prefix(prefix)
            _require_readers(members.kvs, wanted)
            if is_trial():
                return
            raised = msgspec.json.encode(Stands(format=wanted, release=self._release))
            answer = await self._etcd.txn(
                [
                    Compare(self._keys.format, "mod", found.mod_revision if found else 0),
                    Compare(prefix, "mod", members.revision + 1, prefix_end(prefix), less=True),
                ],
                [Put(self._keys.format, raised)],
            )
            if answer.succeeded:
                self.active = wanted
                return
        raise Unavailable("services come and go too often to agree on a format; try again")

    async def _found(self) -> tuple[KeyValue | None, Stands]:
        found = await self._etcd.get(self._keys.format)
        stands = _decode(found.value) if found is not None else Stands()
        self.active = stands.format
        return found, stands


def _require_readers(members: Sequence[KeyValue], wanted: int) -> None:
    """Raise FailedPrecondition unless all members read the format."""
    behind = [m for kv in members if (m := read_member(kv.value)) and _reads(m) < wanted]
    if not behind:
        return
    shown = [f"{m.instance} at {m.endpoint} (release {m.version})" for m in behind[:_NAMED]]
    more = f" and {len(behind) - _NAMED} more" if len(behind) > _NAMED else ""
    raise FailedPrecondition(
        "this writes what services of the release before cannot read yet: upgrade"
        f" {', '.join(shown)}{more}, then try again"
    )


def _reads(member: Member) -> int:
    text = member.attributes.get(ATTRIBUTE, "1")
    return int(text) if text.isdecimal() else 1
