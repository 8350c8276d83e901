"""The providers below a machine's own: the parts of it that can be claimed by themselves.

A component's id is made from the machine's and its key, so that it is the same after each
inspection. Components that are gone are cordoned and kept, for somebody may hold them.
"""

import uuid
from collections.abc import Container

from msgspec.structs import replace

from mulligan.events import provider as ev
from mulligan.events.machine import Facts
from mulligan.events.provider import Inventory
from mulligan.handlers import hardware, names, provider
from mulligan.handlers.decision import Change, States
from mulligan.handlers.hardware import ChildSpec
from mulligan.handlers.machine import Machine
from mulligan.handlers.names import NameState
from mulligan.handlers.provider import Provider
from mulligan.model import MachineId, ProviderId, StreamId, stream_id

GONE_CORDON = "gone"
_NAMESPACE = uuid.UUID("a5a0f9d6-55a1-4a3c-9a76-0d1f2f7a3c10")
KEY = "mulligan.component"
"""The attribute that tells a component made by inspection from one that an operator made."""


def component_id(machine: MachineId, key: str) -> ProviderId:
    """Return the id of a machine's component."""
    return ProviderId(str(uuid.uuid5(_NAMESPACE, f"{machine}/{key}")))


def _specs(machine: Machine, facts: Facts) -> dict[ProviderId, ChildSpec]:
    """Return the components that were found, by id."""
    return {component_id(machine.id, spec.key): spec for spec in hardware.children_of(facts)}


def _name(machine: Machine, key: str) -> str:
    return f"{machine.name[: 62 - len(key)]}-{key}"


def streams(states: States, machine: Machine, facts: Facts) -> list[StreamId]:
    """Name the components that were found, with their names, and those that are known."""
    wanted: list[StreamId] = []
    for child, spec in _specs(machine, facts).items():
        wanted.append(stream_id("provider", child))
        wanted.append(names.name_stream("provider", _name(machine, spec.key)))
    held: Provider | None = states.get(stream_id("provider", machine.id))
    return wanted + [stream_id("provider", c) for c in (held.children if held else ())]


def found(states: States, machine: Machine, held: Provider, facts: Facts) -> list[Change]:
    """Create and update the components that were found; cordon those that are gone."""
    changes: list[Change] = []
    specs = _specs(machine, facts)
    for child, spec in specs.items():
        state: Provider | None = states.get(stream_id("provider", child))
        if state is None:
            changes += _created(states, machine, held, child, spec)
        elif not state.deleted:
            changes += _updated(state, spec)
    return changes + _gone(states, held, specs)


def with_total(known: Inventory, total: int) -> Inventory:
    """Return an inventory of another total; what operators set on it stays."""
    return replace(known, total=total, reserved=min(known.reserved, total))


def _created(
    states: States, machine: Machine, held: Provider, child: ProviderId, spec: ChildSpec
) -> list[Change]:
    stream = stream_id("provider", child)
    name = _name(machine, spec.key)
    taken: NameState | None = states.get(names.name_stream("provider", name))
    assigned: list[Change] = []
    if taken is None or not taken.object:
        assigned = names.assign(states, "provider", name, child)
    created = ev.ProviderCreated(
        provider=child,
        type="component",
        name=name if assigned else str(child),
        parent=held.id,
        ancestors=(*held.ancestors, held.id),
        attributes={**spec.attributes, KEY: spec.key},
    )
    changes = [
        *assigned,
        Change(stream, created),
        Change(stream_id("provider", held.id), ev.ChildAdded(child=child)),
    ]
    if spec.inventories:
        changes.append(Change(stream, ev.InventoriesSet(inventories=dict(spec.inventories))))
    if spec.capabilities:
        changes.append(Change(stream, ev.CapabilitiesSet(capabilities=tuple(spec.capabilities))))
    return changes


def _updated(state: Provider, spec: ChildSpec) -> list[Change]:
    """Change what differs; what operators added of capabilities and reserves stays."""
    stream = stream_id("provider", state.id)
    changes = provider.uncordoned(state, GONE_CORDON)
    attributes = {**state.attributes, **spec.attributes}
    if attributes != state.attributes:
        changes.append(Change(stream, ev.AttributesSet(attributes=attributes)))
    inventories = {**spec.inventories, **state.inventories}
    for class_, inventory in spec.inventories.items():
        inventories[class_] = with_total(inventories[class_], inventory.total)
    if inventories != state.inventories:
        changes.append(Change(stream, ev.InventoriesSet(inventories=inventories)))
    capabilities = tuple(sorted({*state.capabilities, *spec.capabilities}))
    if capabilities != state.capabilities:
        changes.append(Change(stream, ev.CapabilitiesSet(capabilities=capabilities)))
    return changes


def _gone(states: States, held: Provider, present: Container[ProviderId]) -> list[Change]:
    changes: list[Change] = []
    for child in held.children:
        state: Provider | None = states.get(stream_id("provider", child))
        if state is None or state.deleted or KEY not in state.attributes or child in present:
            continue
        changes += provider.cordoned(state, GONE_CORDON, "the last inspection missed it")
    return changes
