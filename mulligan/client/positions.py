"""Read-your-writes: the highest position seen in each region goes with every later read."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from mulligan.model import POSITION_HEADER
from mulligan.proto.v1 import Freshness, Position

Message = TypeVar("Message")


class Positions:
    """The highest log position that this client has seen, by region."""

    def __init__(self, seen: Mapping[str, int] | None = None, *, allow_stale: bool = False) -> None:
        self._seen = dict(seen or {})
        self._allow_stale = allow_stale

    @property
    def seen(self) -> Mapping[str, int]:
        """The highest sequence number by region."""
        return self._seen

    def note(self, answer: object) -> None:
        """Remember the position of an answer that carries one."""
        position = getattr(answer, "position", None)
        if isinstance(position, Position) and position.seq > self._seen.get(position.region, 0):
            self._seen[position.region] = position.seq

    def header(self, region: str) -> dict[str, str]:
        """Return the metadata that makes any instance catch up with what was seen in ``region``."""
        seq = self._seen.get(region, 0)
        return {POSITION_HEADER: f"{region}:{seq}"} if seq and not self._allow_stale else {}

    def into(self, request: Message, region: str) -> Message:
        """Return the request with what was seen in ``region`` as its least freshness.

        A request without a ``freshness`` field comes back as it is; a higher position that the
        caller asks for stays.
        """
        fields = getattr(request, "__dataclass_fields__", {})
        if "freshness" not in fields:
            return request
        given: Freshness = getattr(request, "freshness", None) or Freshness()
        seq = self._seen.get(region, 0)
        least = given.at_least
        if least is not None and least.region not in ("", region):
            return request
        if seq and (least is None or least.seq < seq):
            least = Position(region=region, seq=seq)
        stale = given.allow_stale or self._allow_stale
        if least is None and not stale:
            return request
        return _replace(request, freshness=Freshness(at_least=least, allow_stale=stale))


def _replace(request: Message, **changes: Any) -> Message:
    changed: Message = dataclasses.replace(request, **changes)  # type: ignore[type-var]
    return changed
