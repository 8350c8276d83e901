"""Writes that are answered 202 and done in their own time, or never."""

from typing import Any, ClassVar, Literal

import msgspec
from aiohttp import web

from tests.bmc_faults.rules import Count, Proceed, Rule, Turn, as_json, error, retry_after

_MONITORS = "/redfish/v1/TaskService/TaskMonitors"


class _Job(msgspec.Struct):
    left: int
    proceed: Proceed | None
    result: web.StreamResponse | None = None


class _Jobs(msgspec.Struct):
    made: int = 0
    open: dict[str, _Job] = {}


class Task(Rule, frozen=True, kw_only=True, tag="task"):
    """Answers 202 with a task monitor, which ``end``-s after ``polls`` reads of it.

    The write is ``applied`` at the start, at the end or never. ``form`` says whether the monitor
    answers 202 while the task runs or a Task with its state; ``location`` whether its URI is told.
    """

    WATCHES: ClassVar = True
    method: str = "POST"
    path: str = "*/Actions/*"
    polls: Count = 2
    end: Literal["completed", "failed", "vanishes", "never"] = "completed"
    applied: Literal["start", "end", "never"] = "start"
    form: Literal["monitor", "task"] = "monitor"
    location: bool = True
    retry_after: float | None = None
    retry_after_form: Literal["seconds", "date"] = "seconds"

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        jobs = turn.kept(_Jobs)
        job = jobs.open.get(turn.path)
        if turn.method == "GET" and job is not None:
            return await self._read(turn, job)
        if not turn.due or turn.path.startswith(_MONITORS):
            return await proceed()
        jobs.made += 1
        monitor = f"{_MONITORS}/{turn.bmc}.{jobs.made}"
        job = _Job(left=self.polls, proceed=proceed)
        if self.applied == "start":
            await self._apply(job)
        if len(jobs.open) < 1000:
            jobs.open[monitor] = job
        turn.say(f"202, {monitor}, will have {self.end}")
        response = self._running()
        if self.location:
            response.headers["Location"] = monitor
        return response

    async def _apply(self, job: _Job) -> None:
        if job.proceed is not None:
            proceed, job.proceed = job.proceed, None
            job.result = await proceed()

    def _running(self, status: int = 202) -> web.Response:
        response = as_json({"Id": "1", "TaskState": "Running"} if self.location else {}, status)
        response.headers.update(retry_after(self.retry_after, self.retry_after_form))
        return response

    async def _read(self, turn: Turn, job: _Job) -> web.StreamResponse:
        if job.left > 0 or self.end == "never":
            job.left -= 1
            turn.say("still running")
            return self._running(202 if self.form == "monitor" else 200)
        if self.applied == "end":
            await self._apply(job)
        turn.say(self.end)
        if self.end == "vanishes":
            return error(404, "There is no such task", "ResourceMissingAtURI")
        if self.end == "failed":
            return self._failed()
        if self.form == "task" or not isinstance(job.result, web.Response):
            return as_json({"Id": "1", "TaskState": "Completed", "TaskStatus": "OK"})
        body = job.result.body if isinstance(job.result.body, bytes) else b""
        return web.Response(status=job.result.status, body=body)

    def _failed(self) -> web.Response:
        if self.form == "monitor":
            return error(400, "The task failed", "GeneralError")
        message: dict[str, Any] = {"Message": "The task failed"}
        return as_json({"Id": "1", "TaskState": "Exception", "Messages": [message]})
