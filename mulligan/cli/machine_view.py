"""How machines, their actions and their why-chains are printed."""

from typing import TYPE_CHECKING

from mulligan.cli.output import Column
from mulligan.diagnosis.machines import operation_shown
from mulligan.quantities import format_span, format_time
from mulligan.wording import word

if TYPE_CHECKING:
    from mulligan.proto.v1 import Action, Machine, WhyMachineResponse


DETAIL = 96
"""Characters of what happened that a table of the usual width shows."""


def state_shown(machine: "Machine") -> str:
    """Return the state, with what failed."""
    state = word(machine.state)
    return f"{state}({machine.failed_operation})" if machine.failed_operation else state


def fault_shown(machine: "Machine") -> str:
    """Return what is wrong."""
    fault = machine.fault
    return f"{fault.fault}: {fault.message}".strip(": ") if fault else ""


def health_shown(machine: "Machine") -> str:
    """Return the health last seen."""
    return machine.health.health if machine.health else ""


def power_shown(machine: "Machine") -> str:
    """Return the power seen, and the one that it is kept in where that is another."""
    power = machine.power
    if power is None:
        return ""
    if power.desired and power.desired != power.observed:
        return f"{power.observed or 'unknown'} (to be {power.desired})"
    return power.observed


def state_and_cordon(machine: "Machine") -> str:
    """Return the state, with whether new claims are kept away."""
    cordon = machine.cordon
    if cordon is None:
        return state_shown(machine)
    return f"{state_shown(machine)}, {'maintenance' if cordon.maintenance else 'cordoned'}"


def made_by(machine: "Machine") -> str:
    """Return make and model."""
    facts = machine.facts
    return f"{facts.manufacturer} {facts.model}".strip() if facts else ""


UUIDS = ("claim", "image", "project", "user_data", "rescue_image", "bmc.credential")
"""Where a machine has UUIDs of others."""
UUIDS_SHOWN = ("claim",)
"""Those that a table of the usual width shows."""

COLUMNS = (
    Column("NAME", lambda machine: machine.name),
    Column("STATE", state_and_cordon),
    Column("POWER", power_shown),
    Column("HEALTH", health_shown),
    Column("OPERATION", operation_shown),
    Column("CLAIM", lambda machine: machine.claim),
    Column("FAULT", fault_shown),
    Column("MODEL", made_by, wide=True),
    Column("IMAGE", lambda machine: machine.image, wide=True),
    Column("BMC", lambda machine: machine.bmc.address if machine.bmc else "", wide=True),
    Column("PROJECT", lambda machine: machine.project, wide=True),
    Column("UUID", lambda machine: machine.uuid, wide=True),
    Column("UPDATED", lambda machine: format_time(machine.updated_at), wide=True),
)


def action_time(action: "Action") -> str:
    """Return how long an action took from its attempt to its outcome."""
    if action.attempted_at is None or action.observed_at is None:
        return ""
    return format_span((action.observed_at - action.attempted_at).total_seconds())


ACTIONS = (
    Column("REQUESTED", lambda action: format_time(action.requested_at)),
    Column("VERB", lambda action: action.verb),
    Column("STEP", lambda action: action.step),
    Column("MODE", lambda action: action.mode, wide=True),
    Column("TRY", lambda action: str(action.attempt)),
    Column("STATUS", lambda action: action.status),
    Column("TOOK", action_time),
    Column("MESSAGE", lambda action: action.message),
    Column("OWNER", lambda action: action.owner, wide=True),
    Column(
        "EXCHANGES",
        lambda action: "; ".join(
            f"{one.method} {one.path} {one.status} {one.ms}ms" for one in action.exchanges
        ),
        wide=True,
    ),
    Column("ID", lambda action: action.id, wide=True),
)


def shortened(text: str) -> str:
    """Return the beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= DETAIL else f"{line[: DETAIL - 1]}…"


HISTORY = (
    Column("AT", lambda cause: format_time(cause.at)),
    Column("WHO", lambda cause: cause.actor),
    Column("WHAT", lambda cause: cause.what),
    Column("DETAIL", lambda cause: shortened(cause.detail)),
)
HISTORY_WIDE = (
    Column("POSITION", lambda cause: str(cause.position.seq) if cause.position else ""),
    *HISTORY[:3],
    Column("DETAIL", lambda cause: cause.detail),
)


def why_shown(why: "WhyMachineResponse") -> str:
    """Return the chain as a tree, oldest first, down to what is waited for."""
    branches: list[list[str]] = []
    for cause in why.chain:
        place = f"#{cause.position.seq}" if cause.position else ""
        told = "  ".join(filter(None, (format_time(cause.at), place, cause.actor)))
        branches.append([f"{cause.what}  [{told}]" if told else cause.what])
        branches[-1] += cause.detail.splitlines()
    branches.append([f"waiting for {why.waiting_for}" if why.waiting_for else "it rests"])
    lines = [why.summary]
    for number, (first, *details) in enumerate(branches, start=1):
        last = number == len(branches)
        lines.append(f"{'└─' if last else '├─'} {first}")
        lines += [f"{'   ' if last else '│  '}  {detail}" for detail in details]
    return "\n".join(lines)
