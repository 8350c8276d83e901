"""What ``mulligan apply`` would do: the difference between a fleet file and what exists.

Nothing here does I/O; passwords come in as a function.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from mulligan.cli.fleet import (
    CredentialSpec,
    Located,
    MachineSpec,
    ProviderSpec,
    Wanted,
    parents_first,
)
from mulligan.cli.fleet_machine import assigning_steps, machine_step, profile_steps
from mulligan.cli.fleet_provider import check_group, machine_provider_step, provider_step
from mulligan.cli.fleet_rules import distance_type_steps, quota_steps
from mulligan.cli.fleet_step import Actual, Step, Waves, same
from mulligan.errors import InvalidArgument
from mulligan.proto import v1

MEMBERS_AT_ONCE = 1000
"""Members that one request adds to a group."""


def plan(wanted: Wanted, actual: Actual, password: Callable[[CredentialSpec], str]) -> Waves:
    """Return the steps from what exists to what is wanted.

    Raise InvalidArgument, with the file's line, when something would have to change that cannot.
    """
    names = actual.names()
    waves: Waves = [
        [
            *(
                _credential(spec, place, actual, password)
                for spec, place in wanted.credentials.values()
            ),
            *_images(wanted, actual),
            *_groups(wanted, actual),
            *distance_type_steps(wanted, actual),
            *quota_steps(wanted, actual),
        ]
    ]
    for wave in parents_first(wanted):
        waves.append([provider_step(name, wanted, actual, names) for name in wave])
    waves.append([*profile_steps(wanted, actual, names)])
    waves.append(
        [machine_step(spec, place, actual, names) for spec, place in wanted.machines.values()]
    )
    waves.append([*assigning_steps(wanted, actual)])
    others = dict.fromkeys((*wanted.inventories, *wanted.machines))
    found = (
        machine_provider_step(name, wanted, actual, names)
        for name in others
        if name not in wanted.providers
    )
    waves.append([step for step in found if step is not None])
    waves += _members(wanted, actual, names)
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
            same(place, key, getattr(found, key), value, "delete the image and create it anew")
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
            same(place, "attributes", found.attributes, spec.attributes, hint)
        yield Step("unchanged", "group", spec.name, place)


def _members(wanted: Wanted, actual: Actual, names: Mapping[str, str]) -> Waves:
    """Return the steps that add members, a wave for each batch of a group's."""
    waves: Waves = []
    for name, wished in _wished(wanted, actual).items():
        found = actual.groups.get(name)
        present = {names.get(uuid, uuid) for uuid in found.members} if found else set()
        present |= set(found.members) if found else set()
        added = [member for member in wished if member not in present]
        for number, batch in enumerate(batched(added, MEMBERS_AT_ONCE)):
            request = v1.UpdateGroupMembersRequest(group=name, add=batch)
            details = tuple(f"+ {member}" for member in batch)
            if number == len(waves):
                waves.append([])
            step = Step("change", "members", name, wished[batch[0]], details, request)
            waves[number].append(step)
    return waves


def _wished(wanted: Wanted, actual: Actual) -> dict[str, dict[str, Located]]:
    """Return who should be in which group, and where the file says so."""
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
            check_group(name, wanted, actual, place.at("groups"))
            members.setdefault(name, {})[spec.name] = place
    return members


def batched(items: Sequence[str], size: int) -> Iterator[list[str]]:
    """Yield the items in lists of at most ``size``."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
