"""mulligan-projector's own service: how the read models fare, and mending them.

Any instance answers for all: one that works by what it knows, one that stands by from the
checkpoints in Postgres, through which it also passes on what it is asked.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import anyio

from mulligan.errors import FailedPrecondition
from mulligan.model import Seq, utc_now
from mulligan.projections.models import READ_MODELS, named
from mulligan.projections.rebuild import Rebuilder
from mulligan.projections.status import Batch, Building, ModelStatus
from mulligan.projections.worker import Worker
from mulligan.proto import v1
from mulligan.queries import projections
from mulligan.services import render
from mulligan.services.metrics.projections import ProjectionMetrics
from mulligan.services.metrics.registry import Metrics
from mulligan.services.runtime import Parts, Runtime

_RETRY_S = 5.0
"""How long a retry is waited for; one that takes longer goes on by itself."""
_GLANCE_S = 0.1


class Projector(v1.ProjectorBase):
    """``mulligan.v1.Projector``; ``worker`` is set once the runtime is open."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self.worker: Worker | None = None
        runtime.holds_work = lambda: self.worker is not None and self.worker.working
        self._observe: Callable[[str, Batch], None] = lambda name, batch: None

    def measure(self, metrics: Metrics) -> None:
        """Add this service's metrics to those of the process."""

        def statuses() -> dict[str, ModelStatus]:
            return dict(self.worker.status()) if self.worker and self.worker.working else {}

        self._observe = ProjectionMetrics(metrics.registry, statuses).observe

    async def work(self, parts: Parts) -> None:
        """Keep the read models at the head, for ever."""
        self.worker = Worker(
            parts.log,
            str(self._rt.config.postgres.dsn),
            on_batch=lambda name, batch: self._observe(name, batch),
            instance=self._rt.instance,
        )
        await self.worker.run()

    async def list_projections(
        self, message: v1.ListProjectionsRequest
    ) -> v1.ListProjectionsResponse:
        """Return each read model's checkpoint, lag and trouble."""
        head = render.position(self._rt.parts.commands.position())
        return v1.ListProjectionsResponse(projections=await self._list(), head=head)

    async def retry_projection(
        self, message: v1.RetryProjectionRequest
    ) -> v1.RetryProjectionResponse:
        """Try a halted read model again from where it stands, and say what came of it."""
        (model,) = named([message.name], READ_MODELS)
        before = await self._one(model.name)
        if before.status != "halted":
            raise FailedPrecondition(
                f"projection {model.name} is {before.status}, not halted: there is nothing to retry"
            )
        worker = self.worker
        if worker is not None and worker.working:
            tried = worker.tried(model.name)
            worker.retry(model.name)
            await worker.settled(model.name, tried, _RETRY_S)
        else:
            await projections.ask_to_retry(self._rt.parts.database, model.name)
            with anyio.move_on_after(_RETRY_S):
                while _standing(await self._one(model.name)) == _standing(before):
                    await anyio.sleep(_GLANCE_S)
        return v1.RetryProjectionResponse(projection=await self._one(model.name))

    async def rebuild_projections(
        self, message: v1.RebuildProjectionsRequest
    ) -> AsyncIterator[v1.RebuildProgress]:
        """Build read models beside the live ones, compare, and swap unless only verifying."""
        rebuilder = Rebuilder(self._rt.parts.log, str(self._rt.config.postgres.dsn))
        progress = rebuilder.rebuild(message.names, verify=message.verify)
        async with aclosing(progress) as steps:
            async for step in steps:
                yield v1.RebuildProgress(
                    name=step.name,
                    seq=step.seq,
                    target=step.target,
                    events=step.events,
                    seconds=step.seconds,
                    phase=step.phase,
                    detail=step.detail,
                    finished=step.finished,
                )

    async def projector_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return self._rt.settings.configure(message)

    async def _one(self, name: str) -> v1.Projection:
        for one in await self._list():
            if one.name == name:
                return one
        raise FailedPrecondition(
            f"projection {name} was never built; `mulligan rebuild {name}` builds it"
        )

    async def _list(self) -> list[v1.Projection]:
        if self.worker is not None and self.worker.working:
            return [rendered(one) for _, one in sorted(self.worker.status().items())]
        return await self._stored()

    async def _stored(self) -> list[v1.Projection]:
        """Return what Postgres says, for this instance stands by."""
        parts = self._rt.parts
        head = parts.log.head.seq
        if not await projections.is_prepared(parts.database):
            return []
        nobody = "" if await projections.who_works(parts.database) else "no projector works"
        found = []
        building = self._building_ahead()
        for row in await projections.list_projections(parts.database):
            ahead = building.get(row.name)
            behind = max(0, head - row.seq)
            found.append(
                v1.Projection(
                    name=row.name,
                    version=row.version,
                    seq=row.seq,
                    lag=behind,
                    lag_seconds=await self._age(Seq(row.seq + 1)) if behind else 0.0,
                    status=row.status,
                    problem=row.problem or nobody,
                    building_version=ahead.version if ahead else 0,
                    building_seq=ahead.seq if ahead else 0,
                    building_target=ahead.target if ahead else 0,
                )
            )
        return found

    def _building_ahead(self) -> dict[str, Building]:
        """Return what this instance builds while it stands by."""
        statuses = self.worker.status().values() if self.worker is not None else ()
        return {one.name: one.building for one in statuses if one.building is not None}

    async def _age(self, seq: Seq) -> float:
        """Return for how many seconds an entry has been in the log."""
        async with aclosing(self._rt.parts.log.read(seq, seq)) as batches:
            async for batch in batches:
                return max(0.0, (utc_now() - batch[0].entry.at).total_seconds())
        return 0.0


def _standing(one: v1.Projection) -> tuple[str, int, str]:
    return one.status, one.seq, one.problem


def rendered(status: ModelStatus) -> v1.Projection:
    """Return a read model's status as a message."""
    found = v1.Projection(
        name=status.name,
        version=status.version,
        seq=status.seq,
        lag=status.lag_entries,
        lag_seconds=status.lag_seconds,
        status=status.status,
        problem=status.problem,
        lag_p99_ms=status.lag_p99 * 1000,
    )
    if status.batch is not None:
        found.batch_events = status.batch.events
        found.fold_ms = status.batch.fold * 1000
        found.flush_ms = status.batch.flush * 1000
    if status.building is not None:
        found.building_version = status.building.version
        found.building_seq = status.building.seq
        found.building_target = status.building.target
    return found
