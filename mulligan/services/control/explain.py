"""Why a machine is as it is: its events in words, from the intent to the last exchange."""

from collections.abc import Iterable
from datetime import datetime

from mulligan.errors import Corrupt
from mulligan.events import machine as ev
from mulligan.events.codec import Codec, Event, UnreadableEvent
from mulligan.events.machine import DiskProof, Exchange
from mulligan.handlers.machine import Machine
from mulligan.model import stream_id
from mulligan.proto import v1
from mulligan.queries import audit
from mulligan.queries.machines import ActionRow
from mulligan.reconcile.machine_plan import waiting_for
from mulligan.reconcile.machines import why_braked
from mulligan.services import render
from mulligan.services.gate import visibility
from mulligan.services.runtime import Runtime

CHAIN_LENGTH = 200
_codec = Codec()


async def why(
    runtime: Runtime, known: render.Versioned, *, operator: bool, since: datetime | None = None
) -> v1.WhyMachineResponse:
    """Return a sentence, what it waits for, and the chain since the latest operation began.

    What happened before ``since`` is left out.
    """
    machine: Machine = known.state if operator else visibility.machine_held(known.state)
    rows = await audit.latest_events(
        runtime.parts.database, stream_id("machine", machine.id), CHAIN_LENGTH, since=since
    )
    waiting = waiting_for(machine, await why_braked(runtime.parts.commands, machine))
    if not operator:
        waiting = visibility.machine_text(waiting, machine)
    return v1.WhyMachineResponse(
        summary=summary(machine),
        waiting_for=waiting,
        chain=[cause(runtime, row, machine, operator=operator) for row in _since_operation(rows)],
        position=render.position(runtime.parts.commands.position()),
    )


def summary(machine: Machine) -> str:
    """Say in one sentence what state the machine is in and since what."""
    power = f"power is {machine.power}"
    operation = machine.operation
    if machine.cordon is not None and machine.cordon.maintenance:
        power += "; in maintenance"
    if operation is not None:
        at = operation.step or "its end"
        number = min(operation.done + 1, len(operation.steps))
        return (
            f"{machine.name} is {machine.state}: {operation.verb} is at step {number} of"
            f" {len(operation.steps)}, {at}; {power}."
        )
    if machine.fault is not None:
        what = machine.failed or "its last operation"
        return (
            f"{machine.name} is {machine.state}: {what} failed at {machine.fault.step}"
            f" ({machine.fault.fault}): {machine.fault.message}; {power}."
        )
    held = f", held by claim {machine.claim}" if machine.claim else ""
    return f"{machine.name} is {machine.state}{held}; {power}."


def _since_operation(rows: Iterable[audit.EventRow]) -> list[audit.EventRow]:
    """Keep the events from the start of the latest operation on, oldest first."""
    found = sorted(rows, key=lambda r: r.version)
    starts = [i for i, r in enumerate(found) if r.type == ev.OperationStarted.TYPE]
    return found[starts[-1] :] if starts else found


def cause(runtime: Runtime, row: audit.EventRow, machine: Machine, *, operator: bool) -> v1.Cause:
    """Render an event in words; what concerns the BMC, and which operator did it, is for them."""
    what, detail = _words(_decoded(row), operator=operator)
    if not operator:
        detail = visibility.machine_text(detail, machine)
    own = bool(machine.project) and row.project == machine.project
    shown = operator or own or row.account.startswith("service:")
    return v1.Cause(
        at=row.at,
        position=v1.Position(region=runtime.region, seq=row.seq),
        actor=row.account if shown else "",
        what=what,
        detail=detail,
    )


def _decoded(row: audit.EventRow) -> Event:
    try:
        return _codec.event(row.record)
    except UnreadableEvent as error:
        raise Corrupt(str(error)) from error


def _words(event: Event, *, operator: bool) -> tuple[str, str]:
    match event:
        case ev.MachineEnrolled():
            return "enrolled", event.bmc.address if operator else ""
        case ev.OperationStarted():
            wanted = f" to {event.target}" if event.target and event.verb == "power" else ""
            why = f"; because of its {event.cause.replace('-', ' ')}" if event.cause else ""
            return f"{event.verb}{wanted} began", f"steps: {', '.join(event.steps)}{why}"
        case ev.ActionRequested():
            return f"{event.step} asked for", f"attempt {event.attempt}, {event.mode}"
        case ev.StepAttempted():
            return ("resumed by looking" if event.resumes else "taken"), event.owner
        case ev.TaskStarted():
            return "became a task of the BMC", event.monitor if operator else ""
        case ev.StepObserved():
            return f"came out as {event.outcome}", _observed(event, operator=operator)
        case ev.PhonedHome():
            told = [event.hostname, f"from {event.address}" if event.address else ""]
            keys = [f"{kind} {print_}" for kind, print_ in sorted(event.host_keys.items())]
            return "phoned home", "; ".join(one for one in (*told, *keys) if one)
        case ev.DisksWiped():
            return "disks wiped", "; ".join(map(_proof_words, event.proofs[:16]))
        case ev.OperationCompleted():
            return "completed", ""
        case ev.OperationFailed():
            return f"failed at {event.step}", f"{event.fault}: {event.message}"
        case ev.ClaimDetached():
            return "given back", f"claim {event.claim}"
        case _:
            return _axis_words(event, operator=operator)


def _proof_words(proof: DiskProof) -> str:
    outcome = proof.error or ("verified" if proof.verified else "not verified")
    return f"{proof.serial} by {proof.method}: {outcome}"


def _axis_words(event: Event, *, operator: bool) -> tuple[str, str]:
    """Put into words what concerns one axis of the machine only."""
    match event:
        case ev.PowerObserved():
            return f"power seen {event.power}", ""
        case ev.HealthObserved():
            wrong = [f"{c.component} {c.severity}: {c.message}" for c in event.conditions]
            return f"health seen {event.health}", "; ".join(wrong)
        case ev.HardwareEventSeen():
            about = event.condition
            more = f" (and {event.more} more)" if event.more else ""
            return (
                f"{event.kind} event",
                f"{about.component} {about.severity}: {about.message}{more}",
            )
        case ev.HardwareChanged():
            changes = [
                f"{c.what}: {c.before or 'none'} -> {c.after or 'none'}" for c in event.changes
            ]
            return "hardware changed", "; ".join(changes[:16])
        case ev.DesiredPowerSet():
            return (f"to be kept {event.power}" if event.power else "its power is left alone"), ""
        case ev.MachineCordoned():
            until = f" until {event.until:%Y-%m-%d %H:%M:%S} UTC" if event.until else ""
            what = "maintenance" if event.maintenance else "cordoned"
            return f"{what}{until}", event.reason if operator else ""
        case ev.MachineUncordoned():
            return "uncordoned", "" if event.by else "its time was over"
        case ev.LoginsAllowed():
            return "logins to its BMC allowed again", ""
        case ev.BmcPasswordProven():
            beside = f"as with machine {event.by}, behind the same BMC" if event.by else ""
            detail = "; ".join(filter(None, (f"version {event.version}", beside)))
            return "its BMC takes the login", detail if operator else ""
        case ev.BmcSet():
            return "reached in another way", event.bmc.address if operator else ""
        case ev.ProfileAssigned():
            return "hardware profile", event.profile or "by what its hardware matches"
        case ev.MachineRetired():
            return "retired", event.reason
        case ev.MachineAbandoned():
            left = "a tenant's data may be on it" if event.unwiped else "it was clean"
            return "deleted by force", f"{event.reason}; {left}"
        case _:
            return event.TYPE.partition(".")[2].replace("_", " "), ""


def _observed(event: ev.StepObserved, *, operator: bool) -> str:
    parts = [event.message]
    if event.fault:
        parts.insert(0, event.fault)
    parts += event.notes
    if operator and event.exchanges:
        parts.append(_exchange_words(event.exchanges[-1]))
    return "; ".join(p for p in parts if p)


def _exchange_words(exchange: Exchange) -> str:
    status = str(exchange.status) if exchange.status else "no answer"
    words = f"last exchange: {exchange.method} {exchange.path} -> {status} in {exchange.ms} ms"
    return f"{words}: {exchange.excerpt}" if exchange.excerpt else words


def action(row: ActionRow, machine: Machine, *, operator: bool) -> v1.Action:
    """Render an action; the digests of its exchanges with the BMC are for operators."""
    message = row.message if operator else visibility.machine_text(row.message, machine)
    return v1.Action(
        id=row.id,
        machine=row.machine,
        operation=row.operation,
        verb=row.verb,
        step=row.step,
        mode=row.mode,
        attempt=row.attempt,
        status=row.status,
        owner=row.owner,
        message=message,
        fault=row.fault,
        recovered=row.recovered,
        requested_at=row.requested_at,
        attempted_at=row.attempted_at,
        observed_at=row.observed_at,
        exchanges=[
            v1.Exchange(method=e.method, path=e.path, status=e.status, ms=e.ms, excerpt=e.excerpt)
            for e in (row.exchanges if operator else ())
        ],
    )
