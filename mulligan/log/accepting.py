"""Going on from where a log was put back to, where what is lost cannot or shall not come back."""

import msgspec

from mulligan.errors import Corrupt, FailedPrecondition
from mulligan.events.codec import entry_hash
from mulligan.log.archive_files import owner_of
from mulligan.log.depot import Depot
from mulligan.log.etcd import Compare, Etcd, Put
from mulligan.log.holding import survey
from mulligan.log.identity import Ancestor, Identity
from mulligan.log.keys import Keys
from mulligan.log.restore_plan import TIMEOUT_S, Found, look
from mulligan.log.restoring import WRITER, require_alone
from mulligan.log.segment import OWNER, Owner
from mulligan.log.store import HeadRecord
from mulligan.model import RegionName, new_id, utc_now

_encode = msgspec.json.encode


async def accept_loss(etcd: Etcd, region: RegionName, depot: Depot) -> Identity:
    """Take a log that was put back for the truth: as a log of its own, from its head on.

    Whoever has seen what is lost then finds another log rather than two histories in one. The
    archive goes along unless it holds more than etcd: then raise FailedPrecondition. To be broken
    off and run again does no harm.
    """
    keys, found = Keys(region), await look(etcd, region)
    identity, head = found.identity, found.head
    if identity is None or head is None or identity.restoring:
        raise FailedPrecondition(f"etcd holds no log of {region} to go on with")
    owner = await owner_of(depot)
    if owner is not None:
        await _require_behind(etcd, keys, depot, head)
    if owner is None or owner.log_id == identity.log_id:
        origin = Ancestor(region=region, log_id=identity.log_id, seq=head.seq, hash=head.hash)
        identity = Identity(
            log_id=new_id(),
            created_at=utc_now().isoformat(),
            seeded=(*identity.seeded, origin),
        )
        await _rename(etcd, keys, found, head, identity)
    if owner is not None:
        made = Owner(region=region, log_id=identity.log_id, seeded=identity.seeded)
        await depot.put(OWNER, _encode(made))
    return identity


async def _require_behind(etcd: Etcd, keys: Keys, depot: Depot, head: HeadRecord) -> None:
    """Raise FailedPrecondition unless all that an archive holds is in the log."""
    holding = await survey(depot)
    if not holding.last:
        return
    entry = await etcd.get(keys.entry(holding.last), timeout=TIMEOUT_S)
    if holding.last > head.seq or entry is None or entry_hash(entry.value) != holding.hash:
        raise FailedPrecondition(
            f"the archive at {holding.location} holds entries up to {holding.last}, which etcd does"
            " not have: bring them back, without --accept-loss; or, to give them up, set"
            " archive.location to an empty place and keep that archive for evidence"
        )


async def _rename(
    etcd: Etcd, keys: Keys, found: Found, head: HeadRecord, identity: Identity
) -> None:
    entry = await etcd.get(keys.entry(head.seq), timeout=TIMEOUT_S)
    if entry is None:
        raise Corrupt(f"log entry {head.seq}, which the head names, is missing")
    renamed = msgspec.structs.replace(
        head, log_id=identity.log_id, writer=WRITER, batch_id=new_id()
    )
    answer = await etcd.txn(
        [
            Compare(keys.head, "mod", found.head_token),
            Compare(keys.identity, "mod", found.identity_token),
        ],
        [
            Put(keys.identity, _encode(identity)),
            Put(keys.head, _encode(renamed)),
            Put(entry.key, entry.value),
        ],
        timeout=TIMEOUT_S,
    )
    require_alone(answer.succeeded)
