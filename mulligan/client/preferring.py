"""Which regions come into question for a claim, and in which order: pure decisions."""

import hashlib
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mulligan.errors import InvalidArgument
from mulligan.model import id_of
from mulligan.proto.v1 import ListCandidatesResponse, Region, ResourceRequest

GIVEN = "given"
MOST_FREE = "most-free"
LEAST = "least:"


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """Where a claim may be made, and where rather.

    ``regions`` names those that come into question; none means all that are known. ``want`` are
    attributes that a region must have with these values, ``avoid`` those that it must not have.
    ``order`` is ``given`` (as named, or as listed), ``most-free`` (where most of what is asked for
    is left among the candidates), or ``least:NAME``: by the number in that attribute, such as a
    price, regions without one last. Equals keep the given order.
    """

    regions: tuple[str, ...] = ()
    want: Mapping[str, str] = {}
    avoid: Mapping[str, str] = {}
    order: str = GIVEN

    def __post_init__(self) -> None:
        if self.order not in (GIVEN, MOST_FREE) and not self.order.removeprefix(LEAST):
            raise InvalidArgument("order", "name an attribute after 'least:'")
        if self.order not in (GIVEN, MOST_FREE) and not self.order.startswith(LEAST):
            raise InvalidArgument(
                "order", f"{self.order!r} is not given, most-free or least:ATTRIBUTE"
            )


def eligible(known: Iterable[Region], preference: Preference) -> list[str]:
    """Return the names of regions that come into question, in the given order.

    A region that was named and is not known comes into question where no attribute is asked for.
    """
    by_name = {region.name: region for region in known}
    names = preference.regions or tuple(by_name)
    return [name for name in dict.fromkeys(names) if _suits(by_name.get(name), preference)]


def _suits(region: Region | None, preference: Preference) -> bool:
    if region is None:
        return not preference.want and not preference.avoid
    has = region.attributes
    wanted = all(has.get(key) == value for key, value in preference.want.items())
    return wanted and not any(has.get(key) == value for key, value in preference.avoid.items())


def ranked(
    names: Sequence[str],
    order: str,
    known: Iterable[Region],
    free: Mapping[str, int],
) -> list[str]:
    """Return the names, best first; ``free`` says how much is left in each."""
    if order == MOST_FREE:
        return sorted(names, key=lambda name: -free.get(name, 0))
    if order.startswith(LEAST):
        attribute = order.removeprefix(LEAST)
        costs = {region.name: _number(region.attributes.get(attribute, "")) for region in known}
        return sorted(names, key=lambda name: costs.get(name, math.inf))
    return list(names)


def free_amount(request: ResourceRequest, found: ListCandidatesResponse) -> int:
    """Return how much of the classes that are asked for is left at the candidates' providers."""
    classes = {name for group in request.groups for name in group.resources}
    return sum(
        amount
        for provider in found.providers
        for name, amount in provider.free.items()
        if name in classes
    )


def claim_id(request_id: str, region: str) -> str:
    """Return the id of a placement's claim in one region: the same whenever it is asked for.

    One of version 7 bears the time of ``request_id``, which spares services a look.
    """
    given = uuid.UUID(request_id)
    if given.version != 7:
        return str(uuid.uuid5(given, region))
    millis = given.int >> 80
    digest = hashlib.sha256(f"{request_id} {region}".encode()).digest()
    return id_of(millis, int.from_bytes(digest[:10]) & (2**74 - 1))


def _number(text: str) -> float:
    """Return what a text says; what is no number, or none that can be compared, comes last."""
    try:
        number = float(text)
    except ValueError:
        return math.inf
    return number if math.isfinite(number) else math.inf
