"""Whether others have seen more of a log than etcd holds, or another history: it was put back.

A process that starts knows nothing of what etcd has forgotten. What was derived from the log knows:
read models, and the archive. Each is a witness of how far the log went, and by which hash.
"""

from contextlib import aclosing

import anyio
import msgspec

from mulligan.errors import Corrupt, NotFound, Unavailable
from mulligan.log.depot import Depot
from mulligan.log.etcd import Etcd
from mulligan.log.protocol import EventLog
from mulligan.log.restore_plan import look
from mulligan.log.segment import COPY, manifest_name, read_manifest
from mulligan.log.view import CURE
from mulligan.model import Seq

_FOLLOW_S = 10.0


class PutBack(Corrupt):
    """The log in etcd is an older state of itself, or went on from one."""


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody (``who``) has seen entry ``seq`` of the log ``log_id``, and its hash."""

    who: str
    log_id: str
    seq: Seq
    hash: str


def denies_length(witness: Witness, log_id: str, head: Seq) -> str:
    """Return what is wrong with a log that ends at ``head``; empty for nothing."""
    if witness.log_id != log_id or witness.seq <= head:
        return ""
    return (
        f"the log's head {head} lies before {witness.seq}, which {witness.who} has:"
        f" {witness.seq - head} entries are gone. {CURE}"
    )


def denies_hash(witness: Witness, found: str) -> str:
    """Return what is wrong with a log whose entry of that number has another hash."""
    if found == witness.hash:
        return ""
    return (
        f"entry {witness.seq} of the log is another one than {witness.who} has: there are two"
        f" histories. {CURE}"
    )


async def hear(etcd: Etcd, log: EventLog, witness: Witness) -> None:
    """Raise PutBack when the log as it is stored now cannot be what the witness has seen.

    The witness must have been asked before. Raise Unavailable when that cannot be told now, and
    Corrupt when the entry cannot be read.
    """
    found = await look(etcd, log.region)
    stored = found.head.seq if found.head is not None else Seq(0)
    if witness.log_id != log.head.log_id or not witness.seq:
        return
    if problem := denies_length(witness, log.head.log_id, stored):
        raise PutBack(problem)
    with anyio.move_on_after(_FOLLOW_S) as scope:
        await log.wait(witness.seq)
        async with aclosing(log.read(witness.seq, witness.seq)) as batches:
            async for batch in batches:
                if problem := denies_hash(witness, batch[0].hash):
                    raise PutBack(problem)
    if scope.cancelled_caught:
        raise Unavailable(f"entry {witness.seq} cannot be read at present")


async def archive_witness(depot: Depot) -> Witness | None:
    """Return how far the archive's copy goes; None where there is none yet."""
    name = manifest_name(COPY)
    try:
        manifest = read_manifest(await depot.get(name), name)
    except NotFound:
        return None
    return Witness(
        who=f"the archive at {depot.location}",
        log_id=manifest.log_id,
        seq=manifest.last,
        hash=manifest.hash,
    )
