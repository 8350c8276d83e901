"""BMCs that do not do as they should: which of them cannot be read, and what helps. Pure."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mulligan.diagnosis.found import Status
from mulligan.diagnosis.problem import Problem, warning

if TYPE_CHECKING:
    from mulligan.proto.v1 import Condition, Machine

ALIKE = 4
"""BMCs that cannot be read for one reason are told as one problem from that many on."""
_RESET = "reset the BMC if it stays so; see the load of the BMCs' network"
_REMEDIES = {
    "bad-credentials": (
        "set the password at the BMC to the login's, or mulligan machine update {0} --credential"
        " OTHER; then mulligan machine allow-logins {0}"
    ),
    "forbidden": "give the login's user the role of an administrator at the BMC",
    "tls": (
        "compare the certificate that the BMC shows; if it is right,"
        " mulligan machine update {0} --fingerprint SHA256"
    ),
    "unreachable": (
        "see whether the BMC has power and network, and whether its address is right:"
        " mulligan machine show {0}"
    ),
    "timeout": _RESET,
    "dropped": _RESET,
    "busy": _RESET,
    "server-error": _RESET,
    "bad-answer": "see whether the address is that of a BMC: mulligan machine show {0}",
    "no-such-system": "mulligan machine update {0} --system ID; mulligan machine scan tells them",
    "ambiguous-system": "mulligan machine update {0} --system ID; mulligan machine scan tells them",
}


def remedy(fault: str, called: str) -> str:
    """Return what helps against a fault of a machine's BMC; empty where that is not known."""
    return _REMEDIES.get(fault, "").format(called)


def next_step(machine: "Machine") -> str:
    """Return what is to be done about a machine that failed, or its BMC; empty where nothing is."""
    from mulligan.proto.v1 import MachineState

    called = machine.name or machine.uuid
    if machine.state is MachineState.FAILED:
        first = remedy(machine.fault.fault, called) if machine.fault is not None else ""
        then = f"mulligan machine retry {called}"
        return f"{first}; then {then}" if first else f"mulligan machine why {called}, then {then}"
    why = unread(machine)
    return remedy(why.message_id, called) if why is not None else ""


def unread(machine: "Machine") -> "Condition | None":
    """Return why a machine's BMC cannot be read; None where it can, or nobody tries."""
    from mulligan.proto.v1 import MachineState

    health, cordon = machine.health, machine.cordon
    if health is None or health.health != "unknown" or (cordon is not None and cordon.maintenance):
        return None
    if machine.state is MachineState.RETIRED:
        return None
    return next((one for one in health.conditions if one.component == "bmc"), None)


def bmc_problems(found: Status) -> Iterator[Problem]:
    """Yield whose BMC cannot be read; those told of already, as failed, are left out."""
    told = {machine.uuid for machine in found.machines}
    alike: dict[str, list[tuple[Machine, Condition]]] = {}
    for machine in found.unread:
        why = unread(machine)
        if why is not None and machine.uuid not in told:
            alike.setdefault(why.message_id, []).append((machine, why))
    for fault, group in alike.items():
        if len(group) >= ALIKE:
            machine, why = group[0]
            called = machine.name or machine.uuid
            count = f"{'at least ' if found.more_unread else ''}{len(group)}"
            what = f"{count} BMCs cannot be read ({fault}), such as {called}'s: {why.message}"
            yield warning("machines", what, _for_all(fault, called))
            continue
        for machine, why in group:
            called = machine.name or machine.uuid
            then = remedy(fault, called) or f"mulligan machine show {called}"
            yield warning(called, f"{called}: {why.message}", then, f"machine/{machine.uuid}")


def _for_all(fault: str, called: str) -> str:
    listing = "mulligan machine list --health unknown"
    first = remedy(fault, called)
    return f"{listing}; {first}" if first else listing
