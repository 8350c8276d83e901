"""What a fleet file's plan is made of: what exists, and the steps from there."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from mulligan.cli.fleet import Located
from mulligan.errors import InvalidArgument
from mulligan.proto import v1


class Actual(msgspec.Struct, frozen=True, kw_only=True):
    """What exists, by name; quotas by the name of their project."""

    groups: Mapping[str, v1.Group] = {}
    providers: Mapping[str, v1.Provider] = {}
    images: Mapping[str, v1.Image] = {}
    credentials: Mapping[str, v1.Credential] = {}
    machines: Mapping[str, v1.Machine] = {}
    distance_types: Mapping[str, v1.DistanceType] = {}
    quotas: Mapping[str, v1.Quota] = {}
    profiles: Mapping[str, v1.HardwareProfile] = {}

    def names(self) -> dict[str, str]:
        """Return the names of groups, providers, credentials and images by UUID."""
        return {
            one.uuid: name
            for kind in (self.groups, self.providers, self.credentials, self.images)
            for name, one in kind.items()
        }


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


def same(place: Located, key: str, old: object, new: object, hint: str) -> None:
    """Raise InvalidArgument, with the file's line, unless ``old`` is what is wanted."""
    if old != new:
        raise InvalidArgument(place.at(key), f"is {new!r} here but {old!r} there; {hint}")


def difference(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return the lines of a diff, by key."""
    details: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            details += [f"- {key}: {old[key]}".rstrip(": ")] if key in old else []
            details += [f"+ {key}: {new[key]}".rstrip(": ")] if key in new else []
    return details
