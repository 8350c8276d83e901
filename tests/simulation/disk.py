"""The disk that all processes share, watched over: who wrote what, when, under which lease."""

from mulligan.log.memory import Faults, MemoryDisk
from mulligan.log.store import Lost, Raw, Slot, Won
from mulligan.model import Seq

from .trace import Trace
from .virtual import now


class WatchedDisk(MemoryDisk):
    """Keeps every entry for the checks, whatever is pruned, and what its fences were worth."""

    def __init__(self, trace: Trace, faults: Faults) -> None:
        super().__init__(Faults(seed=faults.seed), log_id="simulated")
        self.stormy = faults
        self.all: list[Raw] = []
        self.written_at: list[float] = []
        self.violations: list[str] = []
        self.slots: list[Slot] = []
        self._trace = trace
        self._held: dict[str, int] = {}

    def swap(self, slot: Slot) -> Won | Lost:
        """Take the slot; note what must not be."""
        answer = super().swap(slot)
        if isinstance(answer, Won):
            raw = self.entries[slot.stored.seq]
            self.all.append(raw)
            self.slots.append(slot)
            self.written_at.append(now())
            self._trace.wrote(raw)
            for fence in slot.fences:
                if self._leases.get(fence.key) != fence.create_revision:
                    self.violations.append(f"entry {raw.seq} was written without its lease")
        return answer

    def head_at(self, time: float) -> Seq:
        """Return the newest entry that was written by a virtual time."""
        found = 0
        for index, at in enumerate(self.written_at, start=1):
            if at > time:
                break
            found = index
        return Seq(found)
