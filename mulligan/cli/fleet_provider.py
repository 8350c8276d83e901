"""The providers of a fleet file: what they should be like, and what is different."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mulligan.cli.fleet import (
    Inventories,
    InventorySpec,
    Located,
    MachineSpec,
    ProviderSpec,
    Wanted,
)
from mulligan.cli.fleet_step import Actual, Step, difference, same
from mulligan.cli.span import parse_span_or_none
from mulligan.errors import InvalidArgument
from mulligan.proto import v1
from mulligan.quantities import MAX_AMOUNT, format_amount, format_span, parse_amount


@dataclass(frozen=True)
class Traits:
    """What a provider should be like; None is left as it is. Groups are called by name."""

    attributes: dict[str, str] | None = None
    inventories: list[v1.Inventory] | None = None
    capabilities: list[str] | None = None
    shares: list[str] | None = None
    distances: list[v1.Distance] | None = None
    turnaround: timedelta | None = None
    parent: str | None = None

    def fields(self) -> dict[str, Any]:
        """Return those that are given, as fields of a request."""
        return {key: value for key, value in vars(self).items() if value is not None}


def provider_step(name: str, wanted: Wanted, actual: Actual, names: Mapping[str, str]) -> Step:
    """Return what makes one of the file's providers what it should be."""
    spec, place = wanted.providers[name]
    traits = _traits(spec, place, wanted, actual)
    found = actual.providers.get(name)
    if found is None:
        request = v1.CreateProviderRequest(name=name, type=spec.type, **traits.fields())
        _, changes = changes_of(v1.Provider(), traits, names)
        return Step("create", "provider", name, place, (f"+ type: {spec.type}", *changes), request)
    same(place, "type", found.type, spec.type, "a provider keeps its type")
    return _change(place, found, traits, names)


def machine_provider_step(
    name: str, wanted: Wanted, actual: Actual, names: Mapping[str, str]
) -> Step | None:
    """Return what makes a provider that the file does not make what it should be; None: nothing."""
    inventories, place = wanted.inventories.get(name, (None, None))
    machine, at = wanted.machines.get(name, (None, None))
    offered = None
    if inventories is not None and place is not None:
        offered = list(make_inventories(inventories, place, ()))
    place = place or at
    assert place is not None, "it is in one of the sections"
    traits = Traits(inventories=offered)
    if machine is not None and at is not None:
        traits = Traits(
            inventories=offered,
            distances=_distances(machine, at, wanted, actual),
            turnaround=_turnaround(machine, at),
        )
    if not traits.fields():
        return None
    found = actual.providers.get(name)
    if found is not None:
        return _change(place, found, traits, names)
    if machine is None:
        raise InvalidArgument(place.at(), f"there is no provider {name!r}, nor one in this file")
    mask, details = changes_of(v1.Provider(), traits, names)
    request = v1.UpdateProviderRequest(provider=name, update_mask=mask, **traits.fields())
    return Step("change", "provider", name, place, tuple(details), request)


def _traits(spec: ProviderSpec, place: Located, wanted: Wanted, actual: Actual) -> Traits:
    overlay = wanted.inventories.get(spec.name)
    inventories: list[v1.Inventory] | None = None
    if overlay is not None:
        inventories = list(make_inventories(overlay[0], overlay[1], ()))
    elif spec.inventories is not None:
        inventories = list(make_inventories(spec.inventories, place, ("inventories",)))
    for number, group in enumerate(spec.shares or ()):
        check_group(group, wanted, actual, place.at("shares", number))
    return Traits(
        attributes=spec.attributes,
        inventories=inventories,
        capabilities=spec.capabilities,
        shares=spec.shares,
        distances=_distances(spec, place, wanted, actual),
        turnaround=_turnaround(spec, place),
        parent=spec.parent or None,
    )


def _turnaround(spec: ProviderSpec | MachineSpec, place: Located) -> timedelta | None:
    if spec.turnaround is None:
        return None
    return parse_span_or_none(str(spec.turnaround), place.at("turnaround"))


def _distances(
    spec: ProviderSpec | MachineSpec, place: Located, wanted: Wanted, actual: Actual
) -> list[v1.Distance] | None:
    """Return a spec's distances; raise InvalidArgument for unknown types, groups and positions."""
    if spec.distances is None:
        return None
    distances: list[v1.Distance] = []
    for kind, to in spec.distances.items():
        known = _positions(kind, wanted, actual)
        if known is None:
            there_is = f"there is no type of distance {kind!r}, nor one in this file"
            raise InvalidArgument(place.at("distances", kind), there_is)
        for group, position in to.items():
            at = place.at("distances", kind, group)
            check_group(group, wanted, actual, at)
            if position not in known:
                raise InvalidArgument(at, f"{position!r} is none of {', '.join(known)}")
            distances.append(v1.Distance(type=kind, group=group, position=position))
    return distances


def _positions(kind: str, wanted: Wanted, actual: Actual) -> list[str] | None:
    if kind in wanted.distance_types:
        return wanted.distance_types[kind][0]
    found = actual.distance_types.get(kind)
    return None if found is None else found.positions


def check_group(name: str, wanted: Wanted, actual: Actual, at: str) -> None:
    """Raise InvalidArgument unless a group is there, or in the file."""
    if name not in wanted.groups and name not in actual.groups:
        raise InvalidArgument(at, f"there is no group {name!r}, nor one in this file")


def _change(place: Located, found: v1.Provider, traits: Traits, names: Mapping[str, str]) -> Step:
    mask, details = changes_of(found, traits, names)
    if not mask:
        return Step("unchanged", "provider", found.name, place)
    fields = {key: value for key, value in traits.fields().items() if key in mask}
    request = v1.UpdateProviderRequest(
        provider=found.uuid, etag=found.etag, update_mask=mask, **fields
    )
    return Step("change", "provider", found.name, place, tuple(details), request)


def changes_of(
    found: v1.Provider, traits: Traits, names: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return the update mask and the lines of the diff."""
    old = Traits(
        attributes=dict(found.attributes),
        inventories=found.inventories,
        capabilities=found.capabilities,
        shares=[names.get(group, group) for group in found.shares],
        distances=[
            v1.Distance(type=d.type, group=names.get(d.group, d.group), position=d.position)
            for d in found.distances
        ],
        turnaround=found.turnaround or timedelta(0),
        parent=names.get(found.parent, found.parent),
    )
    if traits.parent == found.parent:
        old = Traits(**{**vars(old), "parent": found.parent})
    mask: list[str] = []
    details: list[str] = []
    there, here = _written(old), _written(traits)
    for section, new in here.items():
        if new != there[section]:
            mask.append(section)
            details += difference(there[section], new)
    return mask, details


def _written(traits: Traits) -> dict[str, dict[str, str]]:
    """Write traits so that two mean the same if and only if they read the same."""
    writers: dict[str, Any] = {
        "attributes": dict,
        "inventories": lambda all: {one.resource_class: _offer(one) for one in all},
        "capabilities": lambda all: dict.fromkeys(all, ""),
        "shares": lambda all: {f"shares with {one}": "" for one in all},
        "distances": lambda all: {f"{one.type} to {one.group}": one.position for one in all},
        "turnaround": lambda span: (
            {"turnaround": format_span(span.total_seconds())} if span else {}
        ),
        "parent": lambda name: {"parent": name} if name else {},
    }
    return {key: writers[key](value) for key, value in traits.fields().items()}


def make_inventories(
    inventories: Inventories, place: Located, path: tuple[str | int, ...]
) -> Iterator[v1.Inventory]:
    """Yield the messages of a file's inventories, amounts in base units."""
    for name, given in inventories.items():
        spec = given if isinstance(given, InventorySpec) else InventorySpec(total=given)
        inventory = v1.Inventory(resource_class=name, allocation_ratio=spec.allocation_ratio)
        for key in ("total", "reserved", "min_unit", "max_unit", "step_size"):
            value = getattr(spec, key)
            if value:
                setattr(inventory, key, parse_amount(value, place.at(*path, name, key)))
        yield inventory


def _offer(inventory: v1.Inventory) -> str:
    """Write an inventory so that two mean the same if and only if they read the same."""
    name = inventory.resource_class
    words = [format_amount(name, inventory.total)]
    for key, usual in (
        ("reserved", 0),
        ("min_unit", 1),
        ("step_size", 1),
        ("max_unit", MAX_AMOUNT),
    ):
        value = getattr(inventory, key) or usual
        if value != usual:
            words.append(f"{key}={format_amount(name, value)}")
    if (inventory.allocation_ratio or 1.0) != 1.0:
        words.append(f"allocation_ratio={inventory.allocation_ratio:g}")
    return " ".join(words)
