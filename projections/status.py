"""What a worker knows of each read model, for status pages and metrics."""

import time
from collections.abc import Iterable, Mapping

import anyio
import msgspec

from mulligan.model import Seq
from mulligan.projections.checkpoint import ORIGIN
from mulligan.projections.schema import ReadModel


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a read model fares as this process sees it; ``status``: live, catching-up or halted.

    ``lag_entries`` is how far it is behind the log's head, ``lag_seconds`` for how long it has
    been behind without a break.
    """

    name: str
    version: int
    seq: Seq
    status: str
    problem: str
    lag_entries: int
    lag_seconds: float


class Seen:
    """What the worker knows of one read model."""

    def __init__(self) -> None:
        self.place = ORIGIN
        self.status = "catching-up"
        self.problem = ""
        self.current_at = time.monotonic()
        self.retry = anyio.Event()


def statuses(
    models: Iterable[ReadModel], seen: Mapping[str, Seen], head: Seq, problem: str
) -> dict[str, ModelStatus]:
    """Return how each read model fares against the log's head; ``problem`` concerns them all."""
    now = time.monotonic()
    found = {}
    for model in models:
        one = seen[model.name]
        behind = max(0, head - one.place.seq)
        if not behind:
            one.current_at = now
        found[model.name] = ModelStatus(
            name=model.name,
            version=model.version,
            seq=one.place.seq,
            status=one.status,
            problem=one.problem or problem,
            lag_entries=behind,
            lag_seconds=now - one.current_at,
        )
    return found
