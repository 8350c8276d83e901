"""What a watcher keeps of one machine, and when it looks at it next. No I/O."""

import random

import anyio
import msgspec

from mulligan.events.machine import Condition, Health, Power
from mulligan.handlers.machine import Machine
from mulligan.redfish.hardware_events import Allowance

RESTING = frozenset({"manageable", "available", "active", "rescue", "failed"})
"""States in which a machine is watched."""


class WatchTimings(msgspec.Struct, frozen=True, kw_only=True):
    """How often machines are looked at, in seconds; tests use shorter ones."""

    interval: float = 120.0
    """Between two polls, give or take a quarter; the first ones are spread over it."""
    streaming: float = 600.0
    """Between two polls of a machine whose stream is open: what no event told is seen then."""
    longest: float = 600.0
    """Between two polls of a machine whose BMC does not answer."""
    settle: float = 2.0
    """Between two reads of a machine at least, and before a changed power is believed."""
    read: float = 30.0
    """For one read of a system, login included."""
    closer: float = 60.0
    """For one closer look at a machine that is not well."""
    closer_again: float = 900.0
    """Between two closer looks while nothing changes."""
    silence: float = 600.0
    """A stream without a byte for so long is opened anew."""
    reopen: float = 20.0
    """Before a stream is opened again; doubled each time. Some BMCs ask for 20 s at least."""
    longest_reopen: float = 300.0
    proven: float = 60.0
    """A stream that ends sooner has failed."""
    stream_again: float = 3600.0
    """Until a BMC without a stream, or whose stream failed three times, is asked again."""


MISSES = 3
"""Polls in a row that fail before power and health count as unknown."""


class Watch:
    """One machine as it is watched; times are those of the event loop."""

    __slots__ = (
        "allowance",
        "away",
        "closer_at",
        "conditions",
        "due",
        "gap",
        "hinted",
        "key",
        "misses",
        "paused",
        "power",
        "read_at",
        "reading",
        "reported",
        "route",
        "sign",
        "stream_at",
        "streaming",
        "system_path",
        "timings",
    )

    def __init__(self, machine: Machine, timings: WatchTimings, due: float) -> None:
        self.key = machine.id
        self.timings = timings
        self.route = route_of(machine)
        self.due = due
        self.paused = False
        self.read_at = float("-inf")
        self.gap = timings.settle
        self.hinted = False
        self.misses = 0
        self.away = False
        self.power: Power | None = None
        self.sign: object = None
        self.closer_at = float("-inf")
        self.conditions: tuple[Condition, ...] = ()
        self.system_path = ""
        self.stream_at = float("-inf")
        self.streaming: anyio.CancelScope | None = None
        self.reading: anyio.CancelScope | None = None
        self.allowance: Allowance | None = None

    def hint(self, now: float) -> float | None:
        """Bring the next look forward; return in how many seconds it is, None if it was sooner.

        Looks that find nothing new come less and less often: some BMCs tell of each look itself.
        """
        if now - self.read_at > self.timings.interval:
            self.gap = self.timings.settle
        due = max(now, self.read_at + self.gap)
        if due >= self.due:
            return None
        self.due = due
        self.hinted = True
        return due - now

    def answered(self, now: float, *, changed: bool, rng: random.Random) -> None:
        """Note a read that went through, and when the next is due."""
        self.misses = 0
        self.away = False
        if changed:
            self.gap = self.timings.settle
        elif self.hinted:
            self.gap = min(self.gap * 2, self.timings.interval)
        self.hinted = False
        open_ = self.streaming is not None
        self.due = now + jittered(self.timings.streaming if open_ else self.timings.interval, rng)

    def missed(self, now: float, rng: random.Random) -> bool:
        """Note a read that failed; tell whether that makes the BMC one that is away."""
        self.misses += 1
        self.hinted = False
        self.power = None
        times = 2.0 ** max(0, min(self.misses - MISSES, 8))
        self.due = now + jittered(min(self.timings.interval * times, self.timings.longest), rng)
        return self.misses >= MISSES and not self.away

    def settled(self, power: Power, known: Power) -> bool:
        """Tell whether a power may be believed: as known before, or read twice in a row."""
        if power in (known, self.power):
            self.power = None
            return True
        self.power = power
        return False


def route_of(machine: Machine) -> object:
    """Return what decides how the machine's BMC is reached."""
    return machine.bmc, machine.logins


def followed(machine: Machine) -> bool:
    """Tell whether a machine is watched, be it after the operation that it has now."""
    if machine.deleted or (machine.cordon is not None and machine.cordon.maintenance):
        return False
    return machine.operation is not None or machine.state in RESTING


def jittered(seconds: float, rng: random.Random) -> float:
    """Return a time within a quarter of ``seconds``."""
    return seconds * rng.uniform(0.75, 1.25)


def news(machine: Machine, health: Health, conditions: tuple[Condition, ...]) -> bool:
    """Tell whether this is other than what is known of a machine, but for its wording.

    Some BMCs put a sensor's reading into the text.
    """
    return machine.health != health or _signs(machine.conditions) != _signs(conditions)


def _signs(conditions: tuple[Condition, ...]) -> set[tuple[str, Health, str]]:
    return {(c.component, c.severity, c.message_id) for c in conditions}
