"""Tasks of a BMC, without I/O: where to follow one, how it stands, and who is told of it.

A write that is answered 202 goes on after its answer. Whoever runs the step is told the task's
monitor before it is read for the first time, so that another executor can follow it after a crash.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import anyio

from mulligan.redfish.answers import complaint, decode, items, judge, reference, section, text
from mulligan.redfish.digests import note
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.transport import Answer

OnMonitor = Callable[[str], Awaitable[None]]
"""Told the path of a task's monitor on its BMC; returns once it is kept."""

_UNDER_WAY = {
    "New", "Starting", "Running", "Pending", "Suspended", "Interrupted", "Service", "Stopping",
    "Cancelling", "Scheduled", "Downloading", "Validating", "Continue", "UserIntervention",
}  # fmt: skip
_FAILED = {"Exception", "Killed", "Cancelled", "Failed", "Invalid", "CompletedWithErrors"}

_on_monitor: ContextVar[tuple[OnMonitor, float] | None] = ContextVar("on_monitor", default=None)


@contextmanager
def reporting_monitors(report: OnMonitor, *, within: float = 10.0) -> Iterator[None]:
    """Have ``report`` told of each task that is followed from here.

    It has ``within`` seconds for it and must not raise; the task is followed all the same.
    """
    token = _on_monitor.set((report, within))
    try:
        yield
    finally:
        _on_monitor.reset(token)


async def report_monitor(monitor: str) -> None:
    """Tell whoever runs the step of a task's monitor, and wait until it is kept."""
    told = _on_monitor.get()
    if told is None:
        return
    report, within = told
    with anyio.move_on_after(within) as scope:
        await report(monitor)
    if scope.cancelled_caught:
        note("the task's monitor could not be kept: a crash from here on means looking")


def monitor_in(address: str, path: str, answer: Answer) -> str:
    """Return where a 202 says that its task is: by header, else the Task in its body."""
    where = reference(answer.headers.get("location", ""))
    if where:
        return where
    try:
        body = decode(address, path, answer)
    except BmcFault:
        return ""
    is_task = "TaskState" in body or text(body.get("@odata.type")).startswith("#Task.")
    return reference(body.get("@odata.id")) if is_task else ""


def has_ended(what: str, monitor: str, answer: Answer) -> bool:
    """Tell whether a task's monitor says that it is done.

    Raise ``refused`` when it says that the task failed, Ambiguous when nothing can be learnt from
    it any more, and any other fault when it may answer better later.
    """
    if answer.status == 202:
        return False
    fault = judge(what, "GET", monitor, answer)
    if fault is not None and answer.status in (404, 410):
        raise Ambiguous(f"{what} is gone without a result", status=answer.status)
    if fault is not None:
        # A monitor's last answer is that of the write itself.
        raise fault if fault.heals or fault.fault == "refused" else Ambiguous(fault.message)
    body = decode(what, monitor, answer)
    state = text(body.get("TaskState")) or text(body.get("JobState"))
    if state in _FAILED:
        raise BmcFault("refused", f"{what} ended as {state}: {_reason(answer) or 'no reason'}")
    if state in _UNDER_WAY:
        return False
    if state not in ("", "Completed") or text(body.get("TaskStatus")) == "Critical":
        raise Ambiguous(f"{what} ended as {state}, {text(body.get('TaskStatus')) or 'no status'}")
    return True


def _reason(answer: Answer) -> str:
    body = decode("", "", answer)
    messages = [text(section(item).get("Message")) for item in items(body.get("Messages"))]
    return next(filter(None, messages), "") or complaint(answer)
