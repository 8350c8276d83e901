"""What BMCs tell of their hardware, in normal form, and how much of it is worth the log."""

from collections import deque
from collections.abc import Iterator

import msgspec

from mulligan.events.machine import Condition, Health
from mulligan.redfish.answers import Json, items, link, reference, section, text
from mulligan.redfish.hardware_kinds import kind_of, part_name

PER_HOUR = 6
"""Events of one machine that are kept in an hour; the others are counted."""

_HOUR = 3600.0
_MOST = 64
_SEVERITIES: dict[str, Health] = {"warning": "warning", "critical": "critical"}


class HardwareEvent(msgspec.Struct, frozen=True):
    """Something went wrong with a part; ``kind`` is one of the words of ``hardware_kinds``."""

    kind: str
    condition: Condition


class Told(msgspec.Struct, frozen=True):
    """What a message of a BMC's stream says: whether to look at the machine, and what is wrong."""

    look: bool
    events: tuple[HardwareEvent, ...] = ()


def severity_of(value: object) -> Health:
    """Return a Redfish severity; whatever is neither warning nor critical is ``ok``."""
    return _SEVERITIES.get(text(value).lower(), "ok")


def origin_of(value: Json) -> str:
    """Return the path of what a message is about; some BMCs send it as plain text."""
    origin = value.get("OriginOfCondition")
    return link(value, "OriginOfCondition") or reference(origin)


def condition_of(message: Json, severity: Health) -> Condition:
    """Return a message, or a member of ``Status.Conditions``, as a condition."""
    origin = origin_of(message)
    message_id = text(message.get("MessageId"))
    kind = kind_of(message_id, origin)
    return Condition(
        component=text(part_name(kind, origin)),
        severity=severity,
        message=text(message.get("Message")),
        message_id=message_id,
    )


def told(data: bytes, system_path: str) -> Told:
    """Return what the data of one server-sent event says of the system at ``system_path``.

    What is no Redfish event, and what another system of the same BMC has to tell, is nothing.
    """
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Told(look=False)
    messages = items(section(body).get("Events"))[:_MOST]
    ours = [section(m) for m in messages if _concerns(origin_of(section(m)), system_path)]
    events = tuple(_wrong(ours))
    return Told(look=any(map(_worth_a_look, ours)), events=events)


def _wrong(messages: list[Json]) -> Iterator[HardwareEvent]:
    for message in messages:
        severity = _severity(message)
        if severity != "ok":
            kind = kind_of(text(message.get("MessageId")), origin_of(message))
            yield HardwareEvent(kind, condition_of(message, severity))


def _severity(message: Json) -> Health:
    return severity_of(message.get("MessageSeverity") or message.get("Severity"))


def _worth_a_look(message: Json) -> bool:
    # A look may log in, and many BMCs tell of logins: that must not bring the next look.
    kind = kind_of(text(message.get("MessageId")), origin_of(message))
    return kind != "security" or _severity(message) != "ok"


def _concerns(origin: str, system_path: str) -> bool:
    collection, _, _ = system_path.rstrip("/").rpartition("/")
    if not collection or not origin.startswith(collection + "/"):
        return True
    return f"{origin.rstrip('/')}/".startswith(f"{system_path.rstrip('/')}/")


class _Withheld(msgspec.Struct):
    event: HardwareEvent
    count: int


class Allowance:
    """Which of one machine's events are kept: six an hour, and none twice in that time.

    The others are counted by kind, and told with the next one kept or, at last, by ``overdue``.
    Times are in seconds of any clock that does not go back.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[float, HardwareEvent]] = deque(maxlen=PER_HOUR)
        self._withheld: dict[str, _Withheld] = {}

    def admit(self, event: HardwareEvent, now: float) -> int | None:
        """Return how many like it were withheld before; None when this one is withheld too."""
        self._expire(now)
        if len(self._kept) >= PER_HOUR or any(_alike(event, kept) for _, kept in self._kept):
            self.withhold(event)
            return None
        self._kept.append((now, event))
        withheld = self._withheld.pop(event.kind, None)
        return withheld.count if withheld is not None else 0

    def withhold(self, event: HardwareEvent, times: int = 1) -> None:
        """Count an event instead of keeping it."""
        held = self._withheld.setdefault(event.kind, _Withheld(event, 0))
        held.event = event
        held.count += times

    def overdue(self, now: float) -> tuple[HardwareEvent, int] | None:
        """Return a withheld event that may be kept now, and how many more it stands for."""
        self._expire(now)
        for kind, held in self._withheld.items():
            if len(self._kept) < PER_HOUR and not any(_alike(held.event, e) for _, e in self._kept):
                del self._withheld[kind]
                self._kept.append((now, held.event))
                return held.event, held.count - 1
        return None

    def _expire(self, now: float) -> None:
        while self._kept and self._kept[0][0] <= now - _HOUR:
            self._kept.popleft()


def _alike(one: HardwareEvent, other: HardwareEvent) -> bool:
    a, b = one.condition, other.condition
    return (one.kind, a.component, a.severity, a.message_id) == (
        other.kind,
        b.component,
        b.severity,
        b.message_id,
    )
