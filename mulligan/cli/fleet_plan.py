"""What ``mulligan apply`` would do: the difference between a fleet file and what exists.

Nothing here does I/O; passwords come in as a function.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from mulligan.cli.fleet import (
    CredentialSpec,
    Inventories,
    InventorySpec,
    Located,
    MachineSpec,
    ProviderSpec,
    Wanted,
    parents_first,
)
from mulligan.cli.quantities import MAX_AMOUNT, format_amount, parse_amount
from mulligan.errors import InvalidArgument
from mulligan.proto import v1

_USUAL = {"reserved": 0, "min_unit": 1, "step_size": 1, "max_unit": MAX_AMOUNT}


class Actual(msgspec.Struct, frozen=True, kw_only=True):
    """What exists, by name."""

    groups: Mapping[str, v1.Group] = {}
    providers: Mapping[str, v1.Provider] = {}
    images: Mapping[str, v1.Image] = {}
    credentials: Mapping[str, v1.Credential] = {}
    machines: Mapping[str, v1.Machine] = {}


class Step(NamedTuple):
    """One object's part of the plan. ``details`` are its diff; ``request`` is None if unchanged."""

    action: Literal["create", "change", "unchanged"]
    kind: str
    name: str
    place: Located
    details: tuple[str, ...] = ()
    request: Any = None


Waves = list[list[Step]]
"""Steps in order: those of one wave do not depend on one another."""


def plan(wanted: Wanted, actual: Actual, password: Callable[[CredentialSpec], str]) -> Waves:
    """Return the steps from what exists to what is wanted.

    Raise InvalidArgument, with the file's line, when something would have to change that cannot.
    """
    names = {provider.uuid: name for name, provider in actual.providers.items()}
    logins = {credential.uuid: name for name, credential in actual.credentials.items()}
    waves: Waves = [
        [
            *(
                _credential(spec, place, actual, password)
                for spec, place in wanted.credentials.values()
            ),
            *_images(wanted, actual),
            *_groups(wanted, actual),
        ]
    ]
    for wave in parents_first(wanted):
        waves.append([_provider(*wanted.providers[name], wanted, actual, names) for name in wave])
    waves.append(
        [_machine(spec, place, actual, names, logins) for spec, place in wanted.machines.values()]
    )
    waves.append(
        [
            _inventory(name, inventories, place, wanted, actual)
            for name, (inventories, place) in wanted.inventories.items()
            if name not in wanted.providers
        ]
    )
    waves.append(list(_members(wanted, actual, names)))
    return [wave for wave in waves if wave]


def _credential(
    spec: CredentialSpec,
    place: Located,
    actual: Actual,
    password: Callable[[CredentialSpec], str],
) -> Step:
    if bool(spec.password_file) == bool(spec.password_env):
        raise InvalidArgument(place.at(), "give either password_file or password_env")
    if spec.name in actual.credentials:
        return Step("unchanged", "credential", spec.name, place)
    try:
        secret = password(spec)
    except InvalidArgument as error:
        raise InvalidArgument(place.at(), error.message) from error
    request = v1.CreateCredentialRequest(name=spec.name, username=spec.username, password=secret)
    return Step(
        "create", "credential", spec.name, place, (f"+ username: {spec.username}",), request
    )


def _images(wanted: Wanted, actual: Actual) -> Iterator[Step]:
    for spec, place in wanted.images.values():
        fields = msgspec.structs.asdict(spec)
        found = actual.images.get(spec.name)
        if found is None:
            request = v1.CreateImageRequest(**fields)
            details = tuple(f"+ {key}: {value}" for key, value in fields.items() if key != "name")
            yield Step("create", "image", spec.name, place, details, request)
            continue
        for key, value in fields.items():
            _same(place, key, getattr(found, key), value, "delete the image and create it anew")
        yield Step("unchanged", "image", spec.name, place)


def _groups(wanted: Wanted, actual: Actual) -> Iterator[Step]:
    for spec, place in wanted.groups.values():
        found = actual.groups.get(spec.name)
        if found is None:
            request = v1.CreateGroupRequest(name=spec.name, attributes=spec.attributes)
            details = tuple(f"+ {key}: {value}" for key, value in sorted(spec.attributes.items()))
            yield Step("create", "group", spec.name, place, details, request)
            continue
        if spec.attributes:
            hint = "a group's attributes stay as they were made"
            _same(place, "attributes", found.attributes, spec.attributes, hint)
        yield Step("unchanged", "group", spec.name, place)


def _provider(
    spec: ProviderSpec,
    place: Located,
    wanted: Wanted,
    actual: Actual,
    names: Mapping[str, str],
) -> Step:
    overlay = wanted.inventories.get(spec.name)
    inventories: list[v1.Inventory] | None = None
    if overlay is not None:
        inventories = list(make_inventories(overlay[0], overlay[1], ()))
    elif spec.inventories is not None:
        inventories = list(make_inventories(spec.inventories, place, ("inventories",)))
    found = actual.providers.get(spec.name)
    if found is None:
        request = v1.CreateProviderRequest(
            name=spec.name,
            type=spec.type,
            parent=spec.parent,
            attributes=spec.attributes or {},
            inventories=inventories or [],
            capabilities=spec.capabilities or [],
        )
        fresh = v1.Provider(name=spec.name)
        details = (f"+ type: {spec.type}", *([f"+ parent: {spec.parent}"] if spec.parent else []))
        _, changes = _update(fresh, spec.attributes, inventories, spec.capabilities)
        return Step("create", "provider", spec.name, place, (*details, *changes), request)
    if spec.parent and spec.parent != found.parent:
        parent = names.get(found.parent, found.parent)
        _same(place, "parent", parent, spec.parent, "a provider does not move")
    _same(place, "type", found.type, spec.type, "a provider keeps its type")
    return _changed(place, found, spec.attributes, inventories, spec.capabilities)


def _inventory(
    name: str, inventories: Inventories, place: Located, wanted: Wanted, actual: Actual
) -> Step:
    offered = list(make_inventories(inventories, place, ()))
    found = actual.providers.get(name)
    if found is not None:
        return _changed(place, found, None, offered, None)
    if name not in wanted.machines:
        raise InvalidArgument(place.at(), f"there is no provider {name!r}, nor one in this file")
    mask, details = _update(v1.Provider(), None, offered, None)
    request = v1.UpdateProviderRequest(provider=name, update_mask=mask, inventories=offered)
    return Step("change", "provider", name, place, tuple(details), request)


def _machine(
    spec: MachineSpec,
    place: Located,
    actual: Actual,
    names: Mapping[str, str],
    logins: Mapping[str, str],
) -> Step:
    bmc = v1.Bmc(
        address=spec.bmc.address,
        credential=spec.bmc.credential,
        system=str(spec.bmc.system),
        insecure=spec.bmc.insecure,
        fingerprint=spec.bmc.fingerprint,
    )
    found = actual.machines.get(spec.name)
    if found is None:
        request = v1.EnrollMachineRequest(name=spec.name, parent=spec.parent, bmc=bmc)
        details = (f"+ bmc: {bmc.address} {bmc.system}".rstrip(), f"+ credential: {bmc.credential}")
        return Step("create", "machine", spec.name, place, details, request)
    hint = "delete the machine and enrol it anew"
    if found.bmc is not None:
        _same(place, "bmc", found.bmc.address, bmc.address, hint)
        if bmc.system:
            _same(place, "bmc", found.bmc.system, bmc.system, hint)
        if bmc.credential != found.bmc.credential:
            login = logins.get(found.bmc.credential, found.bmc.credential)
            _same(place, "bmc", login, bmc.credential, hint)
    provider = actual.providers.get(spec.name)
    if spec.parent and provider is not None and spec.parent != provider.parent:
        parent = names.get(provider.parent, provider.parent)
        _same(place, "parent", parent, spec.parent, hint)
    return Step("unchanged", "machine", spec.name, place)


def _members(wanted: Wanted, actual: Actual, names: Mapping[str, str]) -> Iterator[Step]:
    members: dict[str, dict[str, Located]] = {}
    for group, place in wanted.groups.values():
        for member in group.members:
            members.setdefault(group.name, {})[member] = place
    joining: list[tuple[ProviderSpec | MachineSpec, Located]] = [
        *wanted.providers.values(),
        *wanted.machines.values(),
    ]
    for spec, place in joining:
        for name in spec.groups:
            if name not in wanted.groups and name not in actual.groups:
                raise InvalidArgument(
                    place.at("groups"), f"there is no group {name!r}, nor one in this file"
                )
            members.setdefault(name, {})[spec.name] = place
    for name, wished in members.items():
        found = actual.groups.get(name)
        present = {names.get(uuid, uuid) for uuid in found.members} if found else set()
        present |= set(found.members) if found else set()
        added = [member for member in wished if member not in present]
        if added:
            request = v1.UpdateGroupMembersRequest(group=name, add=added)
            details = tuple(f"+ {member}" for member in added)
            yield Step("change", "members", name, wished[added[0]], details, request)


def _changed(
    place: Located,
    found: v1.Provider,
    attributes: dict[str, str] | None,
    inventories: list[v1.Inventory] | None,
    capabilities: list[str] | None,
) -> Step:
    mask, details = _update(found, attributes, inventories, capabilities)
    if not mask:
        return Step("unchanged", "provider", found.name, place)
    request = v1.UpdateProviderRequest(
        provider=found.uuid,
        etag=found.etag,
        update_mask=mask,
        attributes=attributes or {},
        inventories=inventories or [],
        capabilities=capabilities or [],
    )
    return Step("change", "provider", found.name, place, tuple(details), request)


def _update(
    found: v1.Provider,
    attributes: dict[str, str] | None,
    inventories: list[v1.Inventory] | None,
    capabilities: list[str] | None,
) -> tuple[list[str], list[str]]:
    """Return the update mask and the lines of the diff."""
    mask: list[str] = []
    details: list[str] = []
    old_tags = dict.fromkeys(found.capabilities, "")
    new_tags = None if capabilities is None else dict.fromkeys(capabilities, "")
    old_offer = {one.resource_class: _offer(one) for one in found.inventories}
    new_offer = None
    if inventories is not None:
        new_offer = {one.resource_class: _offer(one) for one in inventories}
    sections = (
        ("attributes", dict(found.attributes), attributes),
        ("inventories", old_offer, new_offer),
        ("capabilities", old_tags, new_tags),
    )
    for section, old, new in sections:
        if new is None or old == new:
            continue
        mask.append(section)
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                details += [f"- {key}: {old[key]}".rstrip(": ")] if key in old else []
                details += [f"+ {key}: {new[key]}".rstrip(": ")] if key in new else []
    return mask, details


def make_inventories(
    inventories: Inventories, place: Located, path: tuple[str | int, ...]
) -> Iterator[v1.Inventory]:
    """Yield the messages of a file's inventories, amounts in base units."""
    for name, given in inventories.items():
        spec = given if isinstance(given, InventorySpec) else InventorySpec(total=given)
        inventory = v1.Inventory(resource_class=name, allocation_ratio=spec.allocation_ratio)
        for key in ("total", "reserved", "min_unit", "max_unit", "step_size"):
            at = place.at(*path, name, key)
            setattr(inventory, key, parse_amount(getattr(spec, key), at))
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


def _same(place: Located, key: str, old: object, new: object, hint: str) -> None:
    if old != new:
        raise InvalidArgument(place.at(key), f"is {new!r} here but {old!r} there; {hint}")
