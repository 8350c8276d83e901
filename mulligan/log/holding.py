"""What an archive holds, found out from its files alone: chained segments, and the copy after."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

import msgspec
from anyio import to_thread

from mulligan.errors import Corrupt, FailedPrecondition
from mulligan.events.codec import GENESIS_HASH
from mulligan.log.archive_files import manifests_in, owner_of, the_copy
from mulligan.log.depot import Depot
from mulligan.log.protocol import Stored
from mulligan.log.segment import COPY, OWNER, Manifest, Owner, Packed, checked, signed_with
from mulligan.log.view import BrokenChain
from mulligan.log.vouching import LogKey, Vouched, Vouching
from mulligan.model import Seq


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Whose log an archive holds: its segments, each following the last, and the copy beyond them.

    The copy may begin within the segments; it ends beyond them, else it is left out.
    """

    location: str
    owner: Owner
    segments: tuple[Manifest, ...]
    copy: Packed | None

    @property
    def pieces(self) -> Sequence[Manifest]:
        """Every file, in the order of its entries."""
        return (*self.segments, self.copy.manifest) if self.copy is not None else self.segments

    @property
    def last(self) -> Seq:
        """The last entry of all; 0 when there is none."""
        return self.pieces[-1].last if self.pieces else Seq(0)

    @property
    def hash(self) -> str:
        """The hash of the last entry."""
        return self.pieces[-1].hash if self.pieces else GENESIS_HASH


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive was found to hold up to entry ``last``, which is where it is to be cut.

    ``noted`` are the hashes of the entries that were asked for, and ``sizes`` those of the newest
    entries in bytes, the last one's at the end.
    """

    last: Seq
    hash: str
    at: datetime
    commits: int
    vouched: Vouched | None
    noted: Mapping[Seq, str]
    sizes: Sequence[int]


async def survey(depot: Depot) -> Holding:
    """Find out what an archive says that it holds; nothing is proven yet.

    Raise FailedPrecondition where there is no archive, Corrupt for one that has lost a segment.
    """
    owner = await owner_of(depot)
    if owner is None:
        raise FailedPrecondition(
            f"there is no archive of a log at {depot.location}: {OWNER} is missing"
        )
    manifests = await manifests_in(depot)
    chain = longest_chain(manifests)
    _require_all(manifests, chain)
    copy = await the_copy(depot)
    reached = chain[-1].last if chain else 0
    if copy is not None and copy.manifest.first > reached + 1:
        raise BrokenChain(reached + 1, f"is missing: the next one at {depot.location} is in {COPY}")
    if copy is not None and copy.manifest.last <= reached:
        copy = None
    return Holding(location=depot.location, owner=owner, segments=tuple(chain), copy=copy)


def longest_chain(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return the segments that, one following the other, reach furthest from entry 1.

    An archiver that died may have left one that its successor cut otherwise.
    """
    best: dict[tuple[int, str], list[Manifest]] = {}
    for one in sorted(manifests, key=lambda manifest: manifest.first, reverse=True):
        rest = best.get((one.last + 1, one.hash), [])
        found = best.get((one.first, one.prev))
        if found is None or (rest[-1] if rest else one).last > found[-1].last:
            best[one.first, one.prev] = [one, *rest]
    return best.get((1, GENESIS_HASH), [])


def _require_all(manifests: Sequence[Manifest], chain: Sequence[Manifest]) -> None:
    reached = chain[-1].last if chain else 0
    beyond = [one for one in manifests if one.last > reached]
    if beyond:
        following = min(beyond, key=lambda one: one.first)
        raise BrokenChain(
            reached + 1, f"is missing or does not follow: the next segment is {following.name}"
        )


async def prove(
    depot: Depot,
    holding: Holding,
    *,
    to: Seq | datetime | None = None,
    keys: Sequence[LogKey] | None = None,
    note: Sequence[Seq] = (),
    newest: int = 5_000,
    progress: Callable[[Seq], None] = lambda seq: None,
) -> Proven:
    """Read all of an archive and check it: digests, chain, signatures and checkpoints.

    ``keys`` are the log keys to trust; None trusts those that the log itself announces. ``to`` is
    where to cut: an entry, or the last one dated no later than a time. Raise Corrupt, naming the
    entry, for whatever does not hold; FailedPrecondition where nothing is left to restore.
    """
    trusted = keys if keys is not None else ()
    vouching = Vouching(
        holding.owner.region,
        holding.owner.log_id,
        trusted,
        trust_log=keys is None,
        before=(Seq(0), GENESIS_HASH),
        seeded=holding.owner.seeded,
    )
    walked = _Walk(vouching, to, frozenset(note), newest, progress)
    if isinstance(to, int) and not 1 <= to <= holding.last:
        raise FailedPrecondition(f"the archive holds entries 1 to {holding.last}, not {to}")
    for piece in holding.pieces:
        data = await _data(depot, holding, piece)
        await to_thread.run_sync(partial(walked.take_all, piece, data))
    vouching.finish()
    for piece in holding.pieces:
        _require_signature(piece, vouching.keys, keys is not None)
    if walked.at is None:
        raise FailedPrecondition("the archive holds nothing up to there")
    return Proven(
        last=walked.last,
        hash=walked.hash,
        at=walked.at,
        commits=walked.commits,
        vouched=vouching.vouched,
        noted=walked.noted,
        sizes=walked.sizes,
    )


async def entries(
    depot: Depot, holding: Holding, first: int, last: int
) -> AsyncGenerator[Sequence[tuple[Seq, bytes]], None]:
    """Yield the entries [first, last] of an archive, those of one file at a time."""
    at = first
    for piece in holding.pieces:
        if piece.last < at or at > last:
            continue
        data = await _data(depot, holding, piece)
        found = await to_thread.run_sync(partial(_raws, piece, data, at, last))
        at = found[-1][0] + 1
        yield found


async def _data(depot: Depot, holding: Holding, piece: Manifest) -> bytes:
    """Return a file; the copy as it was found, for it may have been replaced since."""
    if holding.copy is not None and piece is holding.copy.manifest:
        return holding.copy.data
    return await depot.get(piece.name)


def _raws(piece: Manifest, data: bytes, first: int, last: int) -> list[tuple[Seq, bytes]]:
    return [(one.seq, one.value) for one in checked(piece, data) if first <= one.seq <= last]


class _Walk:
    """What is noted on the way through an archive; it runs in threads, one at a time."""

    def __init__(
        self,
        vouching: Vouching,
        to: Seq | datetime | None,
        note: frozenset[Seq],
        newest: int,
        progress: Callable[[Seq], None],
    ) -> None:
        self._vouching = vouching
        self._to = to
        self._note = note
        self._keep = newest
        self._progress = progress
        self._seen = Seq(0)
        self._chain = GENESIS_HASH
        self.last, self.hash, self.commits = Seq(0), GENESIS_HASH, 0
        self.at: datetime | None = None
        self.noted: dict[Seq, str] = {}
        self.sizes: list[int] = []

    def take_all(self, piece: Manifest, data: bytes) -> None:
        """Take the entries of one file that were not seen yet; the first must follow."""
        for stored in checked(piece, data):
            if stored.seq <= self._seen:
                continue
            if stored.seq != self._seen + 1 or stored.entry.prev != self._chain:
                raise BrokenChain(stored.seq, f"in {piece.name} does not follow from what is there")
            self._vouching.take(stored)
            self._seen, self._chain = stored.seq, stored.hash
            if stored.seq in self._note:
                self.noted[stored.seq] = stored.hash
            if self._wanted(stored):
                self._count(stored)
        self._progress(self._seen)

    def _wanted(self, stored: Stored) -> bool:
        if isinstance(self._to, datetime):
            return stored.entry.at <= self._to
        return self._to is None or stored.seq <= self._to

    def _count(self, stored: Stored) -> None:
        self.last, self.hash, self.at = stored.seq, stored.hash, stored.entry.at
        self.commits += len(stored.entry.commits)
        self.sizes.append(len(stored.value))
        if len(self.sizes) > 2 * self._keep:
            del self.sizes[: -self._keep]


def _require_signature(piece: Manifest, keys: Mapping[str, LogKey], told: bool) -> None:
    key = keys.get(piece.kid)
    if key is not None and not signed_with(key, piece):
        raise Corrupt(f"the manifest of {piece.name} does not bear the signature of {piece.kid}")
    if key is None and piece.signature and told:
        raise Corrupt(f"the manifest of {piece.name} is signed with {piece.kid}, not trusted here")
