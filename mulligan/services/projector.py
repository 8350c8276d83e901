"""mulligan-projector's own service: how the read models fare, and rebuilding them."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from mulligan.projections.rebuild import Rebuilder
from mulligan.projections.worker import Worker
from mulligan.proto import v1
from mulligan.services import render
from mulligan.services.configure import configure
from mulligan.services.runtime import Runtime


class Projector(v1.ProjectorBase):
    """``mulligan.v1.Projector``; ``worker`` is set once the runtime is open."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self.worker: Worker | None = None

    async def list_projections(
        self, message: v1.ListProjectionsRequest
    ) -> v1.ListProjectionsResponse:
        """Return each read model's checkpoint, lag and trouble."""
        head = render.position(self._rt.parts.commands.position())
        found = []
        if self.worker is not None:
            for name, status in sorted(self.worker.status().items()):
                found.append(
                    v1.Projection(
                        name=name,
                        version=status.version,
                        seq=status.seq,
                        lag=status.lag_entries,
                        lag_seconds=status.lag_seconds,
                        status=status.status,
                        problem=status.problem,
                    )
                )
        return v1.ListProjectionsResponse(projections=found, head=head)

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
        return configure(message, self._rt.limits)
