"""A plain model of claims and names: what the log's events say, folded without Mulligan's code."""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.crash.reading import Event, Logged

FOREVER = datetime.max.replace(tzinfo=UTC)
CLAIM_ENDS = {
    "claim.started": "ACTIVE",
    "claim.ended": "ENDED",
    "claim.released": "RELEASED",
    "claim.cancelled": "CANCELLED",
}

Key = tuple[str, str]
"""A provider and a resource class."""


class Capacity:
    """The use of one class at one provider, as steps in time; what lies behind is forgotten."""

    def __init__(self) -> None:
        self._base = 0
        self._since = datetime.min.replace(tzinfo=UTC)
        self._steps: list[tuple[datetime, int]] = []

    def add(self, start: datetime, end: datetime, amount: int) -> None:
        """Use ``amount`` more (or less, below zero) over [start, end)."""
        insort(self._steps, (start, amount))
        insort(self._steps, (end, -amount))

    def forget(self, before: datetime) -> None:
        """Sum up the steps before a moment: claims reach forward from when they are made."""
        done = 0
        while done < len(self._steps) and self._steps[done][0] < before:
            self._base += self._steps[done][1]
            done += 1
        del self._steps[:done]
        self._since = before

    def peak(self) -> int:
        """Return the most that is used at any instant from the last ``forget`` on."""
        used = self._base
        peak = 0 if self._steps and self._steps[0][0] == self._since else used
        for index, (at, change) in enumerate(self._steps):
            used += change
            if index + 1 == len(self._steps) or self._steps[index + 1][0] != at:
                peak = max(peak, used)
        return peak

    def now(self, at: datetime) -> int:
        """Return what is used at a moment."""
        return self._base + sum(change for when, change in self._steps if when <= at)


class Model:
    """The state after every entry that was applied, and what in it was wrong."""

    def __init__(self) -> None:
        self.seq = 0
        self.claims: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.totals: dict[Key, int] = {}
        self.use: defaultdict[Key, Capacity] = defaultdict(Capacity)
        self.overbooked: dict[Key, int] = {}
        self.used_after: defaultdict[Key, list[tuple[int, int]]] = defaultdict(list)
        self.names: dict[str, dict[str, str]] = defaultdict(dict)
        self.tags: dict[str, set[str]] = defaultdict(set)
        self.versions: dict[str, int] = {}
        self.gaps: list[str] = []

    @classmethod
    def of(cls, commits: Iterable[Logged]) -> "Model":
        """Replay a log."""
        model = cls()
        for commit in commits:
            model.apply(commit)
        return model

    def apply(self, commit: Logged) -> None:
        """Go on by one commit."""
        self.seq = commit.seq
        touched: set[Key] = set()
        for event in commit.events:
            expected = self.versions.get(event.stream, 0) + 1
            if event.version != expected:
                self.gaps.append(
                    f"{event.stream} has version {event.version} at {commit.seq}, not {expected}"
                )
            self.versions[event.stream] = event.version
            touched |= set(self._fold(event, commit))
        for key in touched:
            peak = self.use[key].peak()
            if peak > self.totals[key]:
                self.overbooked[key] = max(peak, self.overbooked.get(key, 0))
            self.used_after[key].append((commit.seq, peak))

    def claim_state(self, claim: str) -> str:
        """Return a claim's state as the API calls it; empty for one that was never made."""
        states = self.claims.get(claim)
        return states[-1][1] if states else ""

    def states_between(self, claim: str, first: int, last: int) -> set[str]:
        """Return the states a claim had after any of the entries [first, last]."""
        found = {""} if not self.claims.get(claim) or self.claims[claim][0][0] > first else set()
        for index, (seq, state) in enumerate(self.claims.get(claim, ())):
            following = self.claims[claim][index + 1 :]
            until = following[0][0] if following else last + 1
            if seq <= last and until > first:
                found.add(state)
        return found

    def peaks_between(self, key: Key, first: int, last: int) -> list[int]:
        """Return the peaks of use after any of the entries [first, last]."""
        found = [0]
        for seq, peak in self.used_after.get(key, ()):
            if seq <= first:
                found = [peak]
            elif seq <= last:
                found.append(peak)
        return found

    def _fold(self, event: Event, commit: Logged) -> Iterator[Key]:
        kind, _, uuid = event.stream.partition("/")
        data = event.data
        match event.type:
            case "provider.inventories_set":
                for name, inventory in data["inventories"].items():
                    self.totals[uuid, name] = inventory["total"]
            case "provider.capacity_taken" | "provider.capacity_freed":
                sign = 1 if event.type.endswith("taken") else -1
                for name, amount in data["amounts"].items():
                    capacity = self.use[uuid, name]
                    capacity.forget(commit.at)
                    capacity.add(_time(data["start"]), _time(data.get("end")), sign * amount)
                    yield uuid, name
            case "claim.made":
                reserved = _time(data["start"]) > commit.at
                self.claims[uuid].append((commit.seq, "RESERVED" if reserved else "ACTIVE"))
            case "name.assigned":
                self.names[data["kind"]][data["object"]] = data["name"]
            case "name.released":
                for objects in self.names.values():
                    objects.pop(data["object"], None)
            case "metadata.changed":
                self._tag(data)
            case ended if kind == "claim" and ended in CLAIM_ENDS:
                self.claims[uuid].append((commit.seq, CLAIM_ENDS[ended]))
            case _:
                pass

    def _tag(self, data: Mapping[str, Any]) -> None:
        tags = self.tags[data["object"]]
        tags |= set(data.get("add_tags", ()))
        tags -= set(data.get("remove_tags", ()))


def live_claims(model: Model) -> dict[str, str]:
    """Return the claims that hold something, with their state."""
    states = {claim: model.claim_state(claim) for claim in model.claims}
    return {claim: state for claim, state in states.items() if state in {"RESERVED", "ACTIVE"}}


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else FOREVER


def by_id(commits: Sequence[Logged]) -> dict[str, list[Logged]]:
    """Return the commits by their id; one that is there twice has two."""
    found: dict[str, list[Logged]] = {}
    for commit in commits:
        found.setdefault(commit.id, []).append(commit)
    return found
