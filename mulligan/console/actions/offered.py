"""What an operator may do from the console: which actions fit an object, and carrying them out.

Whether an action is offered is a first guess from what is on the screen; the services decide.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import msgspec

from mulligan.console.brief import MachineBrief
from mulligan.console.trouble import PASSES
from mulligan.diagnosis.machines import operation_shown
from mulligan.errors import NotFound
from mulligan.model import new_id
from mulligan.wording import word

if TYPE_CHECKING:
    from mulligan.client.client import Client
    from mulligan.proto.v1 import Machine

ASK_S = 15.0
"""Seconds that asking for an action may take; restarts of services are waited out meanwhile."""
LOOK_S = 1.0
LAST_LOOK_S = 3.0
FOLLOWED_S = 1800.0
"""Seconds for which the outcome of an action is followed; it goes on without being watched."""

RESTING = ("manageable", "available", "active", "rescue")
RELEASABLE = ("active", "rescue", "failed(deploy)", "failed(rescue)", "failed(restore)")
RETIRABLE = ("manageable", "available", "failed(clean)")


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do to one object.

    ``request_id`` makes a repetition the same request. ``consequence`` is what will happen, for
    who has to confirm it; ``disruptive`` actions are confirmed on purpose, not by a mere Enter.
    ``end`` is a claim's new end. ``wants_reason`` is what is asked for who has to say why.
    """

    key: str
    verb: str
    kind: str
    uuid: str
    name: str
    title: str
    consequence: str
    disruptive: bool = False
    request_id: str = msgspec.field(default_factory=new_id)
    end: datetime | None = None
    wants_reason: str = ""
    reason: str = ""

    @property
    def goes_on(self) -> bool:
        """Tell whether the action begins something whose outcome comes later."""
        return self.kind == "machine" and self.verb in _BEGINS


class Outcome(msgspec.Struct, frozen=True):
    """What came of an action; ``position`` is the entry that it was written in, 0 for none."""

    text: str
    position: int = 0
    well: bool = True


_BEGINS = frozenset({"retry", "abort", "release", "power-on", "power-off", "power-cycle"})


def actions_for(machine: MachineBrief) -> list[Action]:
    """Return what may be asked of a machine as it is now, the likeliest first."""
    condition = f"{machine.state}({machine.failed})" if machine.failed else machine.state
    busy = bool(machine.operation)
    found: list[tuple[str, str, str, str, bool]] = []
    if machine.state == "failed":
        found.append(_retry(machine))
    if busy and machine.state != "restoring":
        found.append(_abort(machine))
    if condition in RESTING and not busy:
        found += _power(machine)
    if machine.cordon:
        found.append(("u", "uncordon", "Uncordon", _UNCORDON[machine.cordon], False))
    else:
        found.append(("c", "cordon", "Cordon", _CORDON, False))
    if condition in RELEASABLE and not busy:
        found.append(("x", "release", "Release", _RELEASE, True))
    if condition in RETIRABLE and not busy:
        found.append(("i", "retire", "Retire", _RETIRE, True))
    return [
        Action(
            key=key,
            verb=verb,
            kind="machine",
            uuid=machine.uuid,
            name=machine.name,
            title=f"{title} {machine.name}",
            consequence=consequence,
            disruptive=disruptive,
            wants_reason=_WHY.get(verb, ""),
        )
        for key, verb, title, consequence, disruptive in found
    ]


_CORDON = "New claims are kept away. Whoever has it keeps it, and nothing is switched."
_UNCORDON = {
    "cordoned": "New claims may take it again.",
    "maintenance": "Maintenance ends: its BMC is asked again, and new claims may take it.",
}
_RETIRE = "It leaves service: no claim gets it until it is reinstated."
_WHY = {"cordon": "why claims are kept away", "retire": "why it leaves service"}
_RELEASE = (
    "The machine and its claim are given back: it is powered off and cleaned, and what is on it"
    " is lost where its profile wipes. Then it is offered again."
)


def _retry(machine: MachineBrief) -> tuple[str, str, str, str, bool]:
    verb = machine.failed or "the operation"
    return "t", "retry", "Retry", f"{verb} is run again from its beginning.", verb == "deploy"


def _abort(machine: MachineBrief) -> tuple[str, str, str, str, bool]:
    verb = machine.operation.partition(":")[0]
    consequence = f"{verb} stops between two steps, and the machine is failed({verb})."
    return "b", "abort", "Abort what is under way on", consequence, True


def _power(machine: MachineBrief) -> list[tuple[str, str, str, str, bool]]:
    whose = " Whoever uses it loses what is not written." if machine.state == "active" else ""
    turns: list[tuple[str, str, str, str, bool]] = []
    if machine.power != "on":
        turns.append(("o", "power-on", "Power on", "Its BMC switches it on.", False))
    if machine.power != "off":
        off = f"Its BMC switches it off at once, without asking the system.{whose}"
        cycle = f"Its BMC switches it off and on again, at once.{whose}"
        turns.append(("f", "power-off", "Power off", off, True))
        turns.append(("e", "power-cycle", "Power cycle", cycle, True))
    return turns


def actions_for_claim(
    uuid: str, name: str, state: str, end: datetime | None, machines: int
) -> list[Action]:
    """Return what may be done with a claim: give it back, and give it more time."""
    if state not in ("active", "reserved"):
        return []
    given = "cancelled" if state == "reserved" else "given back now"
    what = f"The claim is {given}; its {machines} provider{'s' if machines != 1 else ''} are free"
    found = [
        Action(
            key="x",
            verb="claim-release",
            kind="claim",
            uuid=uuid,
            name=name,
            title=f"{'Cancel' if state == 'reserved' else 'Release'} claim {name}",
            consequence=f"{what} for others. Machines that run for it are cleaned.",
            disruptive=True,
        )
    ]
    if end is not None:
        for key, more, called in (
            ("e", timedelta(hours=1), "1 h"),
            ("d", timedelta(days=1), "1 day"),
        ):
            until = end + more
            found.append(
                Action(
                    key=key,
                    verb="claim-extend",
                    kind="claim",
                    uuid=uuid,
                    name=name,
                    title=f"Extend claim {name} by {called}",
                    consequence=f"It ends at {until:%Y-%m-%d %H:%M}Z, if nobody has that time.",
                    end=until,
                )
            )
    return found


def retry_projection(name: str) -> Action:
    """Return trying a halted read model again."""
    return Action(
        key="t",
        verb="projection-retry",
        kind="projection",
        uuid=name,
        name=name,
        title=f"Retry projection {name}",
        consequence="The event that halted it is folded again; nothing is skipped.",
    )


def release_brake(domain: str, name: str) -> Action:
    """Return releasing the brake of a failure domain."""
    return Action(
        key="b",
        verb="brake-release",
        kind="brake",
        uuid=domain,
        name=name,
        title=f"Release the brake in {name}",
        consequence="Actions on machines there go on. Know why they failed before you do this.",
        disruptive=True,
        wants_reason="why it is safe to go on",
    )


async def perform(action: Action, client: "Client") -> Outcome:
    """Ask for an action, as the same request however often; raise what the service answers."""
    from mulligan.console.actions.calls import CALLS

    answer = await CALLS[action.verb](action, client)
    position = getattr(answer, "position", None)
    seq = position.seq if position is not None else 0
    begun = "asked for" if action.goes_on else "done"
    return Outcome(f"{action.title}: {begun}", seq)


async def follow(action: Action, client: "Client", told: Callable[[str], None]) -> Outcome:
    """Return how a machine rests after an action; ``told`` hears of each step meanwhile."""
    from mulligan.proto.v1 import GetMachineRequest

    shown, pause = "", LOOK_S
    with anyio.move_on_after(FOLLOWED_S):
        while True:
            request = GetMachineRequest(machine=action.uuid)
            try:
                machine = (await client.control.get_machine(request, timeout=ASK_S)).machine
            except PASSES:
                await anyio.sleep(LAST_LOOK_S)
                continue
            if machine is None:
                raise NotFound("machine", action.name)
            if machine.operation is None:
                return rested(action, machine)
            if operation_shown(machine) != shown:
                shown = operation_shown(machine)
                told(shown)
            await anyio.sleep(pause)
            pause = min(pause * 1.3, LAST_LOOK_S)
    return Outcome(f"{action.name} is still at {shown}; see why", well=False)


def rested(action: Action, machine: "Machine") -> Outcome:
    """Return what a machine that rests says of the action before."""
    state, fault = word(machine.state), machine.fault
    if state == "failed" and action.verb != "abort":
        why = f": {fault.message or fault.fault}" if fault else ""
        return Outcome(f"{action.name} failed to {machine.failed_operation}{why}", well=False)
    power = machine.power.observed if machine.power and action.verb.startswith("power") else ""
    return Outcome(f"{action.name} is {state}{f', power {power}' if power else ''}")
