"""Who belongs to the etcd cluster, and which of them answer: how much redundancy is left."""

from collections.abc import Sequence

import anyio
import msgspec

from mulligan.errors import MulliganError, Unavailable
from mulligan.log.etcd import Etcd
from mulligan.log.etcd_kv import EtcdSettings, ListedMember, StoreStatus
from mulligan.log.etcd_lane import bare

PATIENCE_S = 2.0
"""Seconds that each member has to answer; all are asked at once."""
MOST = 32
"""Members and addresses that are asked; etcd itself advises against more than seven."""
SILENCE = f"no answer within {PATIENCE_S:g} s"

Answers = dict[str, StoreStatus | str]
"""What an address said, or why it said nothing."""


class EtcdMember(msgspec.Struct, frozen=True, kw_only=True):
    """A member of the cluster; ``problem`` says why it does not answer, empty where it does.

    One without a name has never started. A learner has no vote.
    """

    id: int
    name: str
    addresses: tuple[str, ...]
    learner: bool
    leads: bool = False
    problem: str = ""
    version: str = ""


class MemberWatch:
    """Knows who answered at the last look; ``members`` is empty before the first."""

    def __init__(self, etcd: Etcd, settings: EtcdSettings) -> None:
        self._etcd = etcd
        self._settings = settings
        self._listed: Sequence[ListedMember] = ()
        self.members: Sequence[EtcdMember] = ()

    async def look(self) -> None:
        """Ask every member how it is, within a few seconds whatever is away.

        Where nobody tells who the members are, those of the last look are asked.
        """
        try:
            self._listed = (await self._etcd.members())[:MOST]
        except MulliganError:
            if not self._listed:
                return
        listed = self._listed
        # A member is known by its id: an address may be a name for another one from here.
        addresses = dict.fromkeys(bare(one) for one in self._settings.endpoints)
        addresses |= dict.fromkeys(one for member in listed for one in member.addresses)
        answers: Answers = {}

        async def ask(address: str) -> None:
            answers[address] = await self._ask(address)

        async with anyio.create_task_group() as tasks:
            for address in list(addresses)[: 2 * MOST]:
                tasks.start_soon(ask, address)
        self.members = judged(listed, answers)

    async def _ask(self, address: str) -> StoreStatus | str:
        settings = msgspec.structs.replace(
            self._settings,
            endpoints=(address,),
            timeout=PATIENCE_S / 2,
            connect_timeout=PATIENCE_S / 2,
        )
        try:
            with anyio.fail_after(PATIENCE_S):
                async with Etcd(settings) as etcd:
                    return await etcd.status()
        except TimeoutError:
            return SILENCE
        except Unavailable as error:
            return error.message
        except MulliganError as error:
            return str(error)


def judged(listed: Sequence[ListedMember], answers: Answers) -> Sequence[EtcdMember]:
    """Return what the answers of addresses say of the members. Pure."""
    there = {one.member: one for one in answers.values() if isinstance(one, StoreStatus)}
    members = []
    for member in sorted(listed, key=lambda one: (one.name, one.id)):
        status = there.get(member.id)
        members.append(
            EtcdMember(
                id=member.id,
                name=member.name,
                addresses=member.addresses,
                learner=member.learner,
                leads=status is not None and status.leader == member.id,
                problem="" if status is not None else _why(member, answers),
                version=status.version if status is not None else "",
            )
        )
    return members


def _why(member: ListedMember, answers: Answers) -> str:
    if not member.name:
        return "it was added and has never started"
    said = [answers[one] for one in member.addresses if one in answers]
    reasons = [one for one in said if isinstance(one, str)]
    if reasons:
        return reasons[0]
    if said:
        return f"another member answers at {', '.join(member.addresses)}"
    return "it tells clients no address"
