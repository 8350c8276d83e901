"""Proof of an archive: every segment read back; digests, chain, signatures and checkpoints."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator
from itertools import islice

import msgspec
from anyio import to_thread

from mulligan.log.protocol import Stored
from mulligan.log.segment import Manifest, checked, require_next, signed_with
from mulligan.log.view import BrokenChain
from mulligan.log.vouching import LogKey, Vouched, Vouching
from mulligan.model import Seq

_AT_ONCE = 1000

Fetch = Callable[[Manifest], Awaitable[bytes]]
"""Returns the file of a segment."""


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """How far a proof has come: entry ``seq`` of ``segment`` has ``hash``, and so has all before.

    ``vouched`` is the newest signed checkpoint that was met and holds.
    """

    seq: Seq
    hash: str
    segment: str
    vouched: Vouched | None


class Proof:
    """Takes segments in their order and checks each; ``finish`` after the last.

    ``keys`` are the log keys to trust; ``vouching`` looks at the checkpoints on the way and is
    finished with it.
    """

    def __init__(self, vouching: Vouching, keys: Iterable[LogKey]) -> None:
        self.vouching = vouching
        self._keys = {key.kid: key for key in keys}
        self._doubtful: Manifest | None = None
        self._before: Manifest | None = None

    async def run(
        self, manifests: AsyncIterable[Manifest], fetch: Fetch
    ) -> AsyncGenerator[Proven, None]:
        """Check segments, telling how far it is; raise BrokenChain at the first bad entry."""
        async for manifest in manifests:
            if self._before is not None:
                require_next(manifest, self._before)
            self._require_signed(manifest)
            entries = checked(manifest, await fetch(manifest))
            while newest := await to_thread.run_sync(self._some, entries):
                yield Proven(
                    seq=newest.seq,
                    hash=newest.hash,
                    segment=manifest.name,
                    vouched=self.vouching.vouched,
                )
            self._before = manifest

    def finish(self) -> None:
        """Raise BrokenChain if what an untrusted key signed is vouched for by no trusted one."""
        self.vouching.finish()
        doubtful, vouched = self._doubtful, self.vouching.vouched
        if doubtful is not None and (vouched is None or vouched.seq < doubtful.last):
            raise BrokenChain(
                doubtful.first,
                f"and those up to {doubtful.last} are in {doubtful.name}, whose manifest is signed"
                f" with key {doubtful.kid or '(none)'}, which is not trusted",
            )

    def _require_signed(self, manifest: Manifest) -> None:
        key = self._keys.get(manifest.kid)
        if key is None:
            self._doubtful = manifest
        elif not signed_with(key, manifest):
            raise BrokenChain(
                manifest.first,
                f"and those up to {manifest.last} are in {manifest.name}, whose manifest bears no"
                f" valid signature of key {manifest.kid}",
            )

    def _some(self, entries: Iterator[Stored]) -> Stored | None:
        newest = None
        for newest in islice(entries, _AT_ONCE):
            self.vouching.take(newest)
        return newest
