"""Which request groups are tied to one another, by their index in the request."""

from collections.abc import Iterable

from mulligan.errors import InvalidArgument
from mulligan.events.request import ClaimRequest


def named(request: ClaimRequest) -> dict[str, int]:
    """Return the index of each group; raise InvalidArgument when two share a name."""
    found: dict[str, int] = {}
    for index, group in enumerate(request.groups):
        if group.name in found:
            raise InvalidArgument(f"groups[{index}].name", f"{group.name!r} is given twice")
        found[group.name] = index
    return found


def sets_of(request: ClaimRequest, field: str) -> list[frozenset[int]]:
    """Return ``isolate`` or ``same_subtree`` by the groups' indexes; InvalidArgument if unknown."""
    names = named(request)
    given: tuple[tuple[str, ...], ...] = getattr(request, field)
    for number, members in enumerate(given):
        for name in members:
            if name not in names:
                raise InvalidArgument(f"{field}[{number}]", f"there is no request group {name!r}")
    return [frozenset(names[name] for name in members) for members in given]


def apart(request: ClaimRequest) -> list[frozenset[int]]:
    """Return, for each group, those whose instances must not share a provider with its own."""
    sets = sets_of(request, "isolate")
    return [
        frozenset(other for members in sets if index in members for other in members)
        for index in range(len(request.groups))
    ]


def joined(sets: Iterable[frozenset[int]]) -> list[list[int]]:
    """Merge the sets that have a member in common; each is sorted, and the first comes first."""
    found: list[frozenset[int]] = []
    for members in sets:
        if not members:
            continue
        touching = [one for one in found if one & members]
        found = [one for one in found if not one & members]
        found.append(members.union(*touching))
    return sorted(sorted(one) for one in found)
