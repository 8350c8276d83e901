"""Reports of booted machines, as commands: exact state decides which of them still count."""

from collections.abc import Callable

from mulligan.commands.runner import Commands, Request
from mulligan.errors import FailedPrecondition, NotFound
from mulligan.events.envelope import Actor
from mulligan.handlers.reports import PhoneHome, ReportWipe
from mulligan.log.protocol import Fence
from mulligan.model import CommitId, MachineId
from mulligan.redfish.reports import Report, ReportAnswer


class ReportRecorder:
    """Records each report once; ``take`` is the media server's ``on_report``."""

    def __init__(self, commands: Commands, *, instance: str, fence: Callable[[], Fence]) -> None:
        self._commands = commands
        self._actor = Actor(account="service:executor", credential=instance)
        self._fence = fence

    async def take(self, report: Report) -> ReportAnswer:
        """Append the report's event; ``over`` when its operation does not wait for it (any more).

        Raise Unavailable, Conflict or Fenced when it cannot be recorded now.
        """
        request = Request(
            id=CommitId(self._commands.new_id()), actor=self._actor, correlation=report.operation
        )
        try:
            await self._commands.execute(_command(report), request, fence=self._fence())
        except (FailedPrecondition, NotFound):
            return "over"
        return "taken"


def _command(report: Report) -> PhoneHome | ReportWipe:
    machine, operation = MachineId(report.machine), CommitId(report.operation)
    if report.kind == "wipe-report":
        return ReportWipe(machine=machine, operation=operation, proofs=report.proofs)
    return PhoneHome(
        machine=machine,
        operation=operation,
        address=report.address,
        hostname=report.fields.get("fqdn") or report.fields.get("hostname", ""),
        host_keys=dict(report.host_keys),
    )
