"""What the console keeps of each machine and place: little, as it keeps all of them."""

from datetime import datetime

import msgspec

from mulligan.diagnosis.machines import operation_shown
from mulligan.proto.v1 import Machine, Provider
from mulligan.wording import word


class MachineBrief(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One machine on the fleet map; texts are empty where there is nothing to tell.

    ``state`` and ``health`` are the words of the API; ``cordon`` is ``cordoned`` or
    ``maintenance``; ``operation`` says what is under way and how far it is.
    """

    uuid: str
    name: str
    state: str
    failed: str = ""
    health: str = ""
    power: str = ""
    cordon: str = ""
    fault: str = ""
    operation: str = ""
    make: str = ""
    claim: str = ""
    project: str = ""
    updated: datetime | None = None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that others stand under: a rack, a row, a site. ``parent`` may be empty."""

    uuid: str
    name: str
    parent: str = ""


def machine_brief(machine: Machine) -> MachineBrief:
    """Return what the console keeps of a machine."""
    facts, cordon, fault, health = machine.facts, machine.cordon, machine.fault, machine.health
    return MachineBrief(
        uuid=machine.uuid,
        name=machine.name or machine.uuid,
        state=word(machine.state),
        failed=machine.failed_operation,
        health=health.health if health else "",
        power=machine.power.observed if machine.power else "",
        cordon="" if cordon is None else "maintenance" if cordon.maintenance else "cordoned",
        fault=f"{fault.fault}: {fault.message}".strip(": ") if fault else "",
        operation=operation_shown(machine),
        make=f"{facts.manufacturer} {facts.model}".strip() if facts else "",
        claim=machine.claim,
        project=machine.project,
        updated=machine.updated_at,
    )


def place(provider: Provider) -> Place:
    """Return what the console keeps of a provider that is no machine."""
    return Place(uuid=provider.uuid, name=provider.name or provider.uuid, parent=provider.parent)
