"""Events of the log in words, one line each: what would happen, to whoever only tries it out."""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mulligan.quantities import format_amount, format_span, format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import LogEvent

Names = Callable[[str], str]
"""Gives what a UUID is called, or the UUID."""

_EMPTY: tuple[Any, ...] = ("", None, [], {})
_LONG = 300
_HOUR = 3600


def data_of(event: "LogEvent") -> dict[str, Any]:
    """Return an event's fields."""
    try:
        found = json.loads(event.data)
    except ValueError:
        found = event.data
    return found if isinstance(found, dict) else {"value": found}


def said(event: "LogEvent", called: Names) -> str:
    """Return what an event says, with the names of what it speaks of."""
    data = data_of(event)
    word = _WORDS.get(event.type)
    if word is not None:
        with suppress(KeyError, TypeError, ValueError):  # of a release that has other fields
            return word(data, called)
    own = event.stream.partition("/")[2]
    told = {key: value for key, value in data.items() if value not in _EMPTY and value != own}
    return ", ".join(f"{key}={_plain(value, called)}" for key, value in told.items())[:_LONG]


def amounts_shown(amounts: Mapping[str, int]) -> str:
    """Return amounts by class: ``machine=1 memory=64GiB``."""
    return " ".join(f"{name}={format_amount(name, n)}" for name, n in sorted(amounts.items()))


def lasting(data: Mapping[str, Any]) -> str:
    """Return from when to when something lasts: ``2027-01-31 08:00:00Z to … (2h)``."""
    start, end = when(data.get("start")), when(data.get("end"))
    if end is None:
        return f"{format_time(start)}, open end"
    span = f" ({length(start, end)})" if start is not None else ""
    return f"{format_time(start)} to {format_time(end)}{span}"


def length(start: datetime, end: datetime) -> str:
    """Return how long something lasts, of hours to the minute: ``2h``."""
    seconds = (end - start).total_seconds()
    return format_span(round(seconds / 60) * 60 if seconds >= _HOUR / 2 else round(seconds))


def when(text: Any) -> datetime | None:
    """Return the time in an event; None for none."""
    try:
        return datetime.fromisoformat(text) if text else None
    except (TypeError, ValueError):
        return None


def at_providers(allocations: Iterable[Mapping[str, Any]], called: Names) -> str:
    """Return allocations on a line: ``machine=1 at node-7``."""
    return ", ".join(
        f"{amounts_shown(a['amounts'])} at {called(a['provider'])}" for a in allocations
    )


def _plain(value: Any, called: Names) -> str:
    if isinstance(value, str):
        moment = when(value) if value[4:5] == "-" and "T" in value else None
        return format_time(moment) or called(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return " ".join(map(called, value))
    return json.dumps(value, ensure_ascii=False)


def _claim_made(data: Mapping[str, Any], called: Names) -> str:
    return f"{at_providers(data['allocations'], called)}, {lasting(data)}"


def _held(data: Mapping[str, Any], called: Names) -> str:
    return f"{amounts_shown(data['amounts'])} for {called(data['claim'])}, {lasting(data)}"


def _operation(data: Mapping[str, Any], called: Names) -> str:
    about = [
        f"{key} {called(data[key])}"
        for key in ("image", "claim", "project", "user_data", "target", "profile")
        if data.get(key)
    ]
    steps = ", ".join(data["steps"])
    ends = f"then {data['then']}, by {format_time(when(data['deadline']))} at the latest"
    return f"{' '.join([data['verb'], *about])}: {steps}; {ends}"


def _moved(data: Mapping[str, Any], called: Names) -> str:
    return f"from {called(data['source'])} to {at_providers(data['targets'], called)}"


def _named(data: Mapping[str, Any], called: Names) -> str:
    return f"is the name of {data['kind']} {called(data['object'])}"


def _unnamed(data: Mapping[str, Any], called: Names) -> str:
    return f"is free again, after {called(data['object'])}"


def _limits(data: Mapping[str, Any], called: Names) -> str:
    lease = data.get("max_lease")
    longest = f", leases of at most {format_span(lease)}" if lease else ""
    return f"{amounts_shown(data['limits']) or 'no limits'}{longest}"


_WORDS: Mapping[str, Callable[[Mapping[str, Any], Names], str]] = {
    "claim.made": _claim_made,
    "claim.moved": _moved,
    "claim.rescheduled": lambda data, called: lasting(data),
    "machine.operation_started": _operation,
    "name.assigned": _named,
    "name.released": _unnamed,
    "provider.capacity_taken": _held,
    "provider.capacity_freed": _held,
    "quota.baselined": lambda data, called: "what is in use already counts",
    "quota.set": _limits,
    "quota.taken": _held,
    "quota.freed": _held,
    "quota.tracked": lambda data, called: "its use is counted from now on",
}
