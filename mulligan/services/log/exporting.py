"""The calls of mulligan-log that prove it: exporting entries byte for byte, walking the chain."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from mulligan.errors import InvalidArgument
from mulligan.log.identity import identity_of
from mulligan.log.verify import verify
from mulligan.log.view import BrokenChain
from mulligan.log.vouching import Vouching
from mulligan.model import Seq
from mulligan.proto import v1
from mulligan.services.log.checkpoints import log_keys, rendered, trusted
from mulligan.services.runtime import Runtime

_VERIFY_CHUNK = 2000


class ProofCalls:
    """The part of ``mulligan.v1.Log`` that gives proof."""

    _rt: Runtime

    async def export_log(self, message: v1.ExportLogRequest) -> AsyncIterator[v1.ExportedEntry]:
        """Send the entries of a range as they are stored; nothing beyond the head is waited for."""
        log = self._rt.parts.log
        first, last = Seq(message.first or 1), Seq(message.last or log.head.seq)
        if last > log.head.seq:
            raise InvalidArgument("last", f"lies beyond the head, which is {log.head.seq}")
        if first > last:
            raise InvalidArgument("first", f"lies after the last entry asked for, {last}")
        async with aclosing(log.read(first, last)) as batches:
            async for batch in batches:
                for stored in batch:
                    yield v1.ExportedEntry(seq=stored.seq, entry=stored.value)

    async def verify_log(self, message: v1.VerifyLogRequest) -> AsyncIterator[v1.VerifyLogProgress]:
        """Walk the chain in chunks, across which it is checked too, with the checkpoints in it."""
        log = self._rt.parts.log
        first = Seq(message.first or 1)
        last = Seq(min(message.last or log.head.seq, log.head.seq))
        keys = trusted(await log_keys(self._rt.present.commands))
        identity = await identity_of(self._rt.parts.etcd, self._rt.region)
        seeded = identity.seeded if identity is not None else ()
        vouching = Vouching(self._rt.region, log.head.log_id, keys, seeded=seeded)
        total = max(last - first + 1, 0)
        done, after_hash = 0, None
        while done < total:
            start = Seq(first + done)
            end = Seq(min(start + _VERIFY_CHUNK - 1, last))
            verdict = await verify(log, start, end, after_hash, vouching)
            if not verdict.sound:
                yield v1.VerifyLogProgress(
                    verified=done,
                    total=total,
                    bad_seq=verdict.bad or start,
                    problem=verdict.problem,
                )
                return
            after_hash = verdict.hash
            done = end - first + 1
            vouched = vouching.vouched
            try:
                if done == total:
                    vouching.finish()
            except BrokenChain as error:
                yield v1.VerifyLogProgress(
                    verified=done, total=total, bad_seq=error.seq, problem=error.message
                )
                return
            yield v1.VerifyLogProgress(
                verified=done,
                total=total,
                head_hash=after_hash,
                vouched=rendered(vouched.signed, self._rt.region) if vouched else None,
            )
