"""Clients that do what they are told, one step at a time: ours, and programs in other languages.

A step is a JSON object, such as ``{"op": "call", "method": "Control.GetMachine", "request": {…}}``,
with messages in the JSON form of protobuf; so is its outcome: ``{"answer": …}``, or ``{"error":
"NotFound", "message": …}`` with the name that an error has in every language.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from mulligan import tracing
from mulligan.client.client import Client
from mulligan.client.context import Context
from mulligan.client.paging import every
from mulligan.errors import Exhausted, InvalidArgument, MulliganError, NotFound
from mulligan.proto import v1
from mulligan.proto.clients.interface import Method, read_services
from mulligan.proto.descriptors import descriptor_set

STEP_S = 40.0
"""A step that takes longer has hung."""
LONGEST_LINE = 1 << 22

Step = Mapping[str, Any]
Outcome = dict[str, Any]


class Driver(Protocol):
    """A client of one language."""

    async def do(self, step: Step) -> Outcome:
        """Do one step and return what came of it."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


@cache
def methods() -> dict[str, Method]:
    """Every RPC, by names such as ``Control.GetMachine``."""
    services = read_services(descriptor_set())
    return {f"{one.service}.{one.name}": one for service in services for one in service.methods}


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Ours:
    """The Python client."""

    def __init__(self) -> None:
        self._client: Client | None = None

    async def do(self, step: Step) -> Outcome:
        try:
            with anyio.fail_after(STEP_S):
                return {"answer": await self._done(step)}
        except MulliganError as error:
            kind = next(
                one.__name__
                for one in type(error).__mro__
                if one.__module__ == MulliganError.__module__
            )
            outcome: Outcome = {"error": kind, "message": error.message}
            if isinstance(error, InvalidArgument):
                outcome["violations"] = {v.field: v.description for v in error.violations}
            if isinstance(error, Exhausted) and error.facts:
                outcome["facts"] = error.facts
            if isinstance(error, NotFound) and error.key:
                outcome["resource"] = [error.kind, error.key]
            return outcome

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()

    async def _done(self, step: Step) -> Any:
        match step["op"]:
            case "open":
                await self.close()
                self._client = Client(
                    Context(
                        address=tuple(step["address"]),
                        ca=step["ca"],
                        account=step["account"],
                        project=step.get("project", ""),
                    ),
                    secret=step["secret"],
                    patience=step["patience"],
                )
                return {}
            case "together":
                outcomes: list[Outcome] = [{} for _ in step["steps"]]
                async with anyio.create_task_group() as tasks:
                    for number, one in enumerate(step["steps"]):
                        tasks.start_soon(self._into, outcomes, number, one)
                return outcomes
        with tracing.following(step.get("traceparent", "")):
            return await self._called(step, await self._chosen(step))

    async def _into(self, outcomes: list[Outcome], number: int, step: Step) -> None:
        outcomes[number] = await self.do(step)

    async def _chosen(self, step: Step) -> Client:
        client = self._client
        assert client is not None
        if "region" in step:
            client = await client.regions.client(step["region"])
        return client.at(step["at"]) if "at" in step else client

    async def _called(self, step: Step, client: Client) -> Any:
        match step["op"]:
            case "call":
                bound, request = self._bound(client, step)
                return (await bound(request)).to_dict()
            case "take":
                bound, request = self._bound(client, step)
                taken: list[Any] = []
                async for message in bound(request):
                    taken.append(message.to_dict())
                    if len(taken) == step["count"]:
                        break
                return taken
            case "every":
                bound, request = self._bound(client, step)
                items = methods()[step["method"]].items
                assert items is not None
                field = items.field
                found = every(
                    bound, request, lambda page: getattr(page, field), limit=step.get("limit", 0)
                )
                return [item.to_dict() async for item in found]
            case "resolve":
                return await client.names.resolve(step["kind"], step["name"])
            case "positions":
                return {region: str(seq) for region, seq in client.positions.items()}
            case "log_out":
                await client.log_out()
                return {}
            case "close":
                client.close()
                return {}
        raise AssertionError(f"no client can {step['op']}")

    def _bound(self, client: Client, step: Step) -> tuple[Any, Any]:
        method = methods()[step["method"]]
        request = getattr(v1, method.request).from_dict(dict(step.get("request", {})))
        return getattr(getattr(client, method.service.lower()), snake(method.name)), request


class Program:
    """A client in another language: a program that reads steps and writes outcomes, a line each."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._lines = BufferedByteReceiveStream(process.stdout)

    @classmethod
    async def run(cls, command: Sequence[str | Path]) -> "Program":
        words = [str(word) for word in command]
        return cls(await anyio.open_process(words, stderr=None))

    async def do(self, step: Step) -> Outcome:
        assert self._process.stdin is not None
        with anyio.fail_after(STEP_S):
            await self._process.stdin.send(json.dumps(step).encode() + b"\n")
            line = await self._lines.receive_until(b"\n", LONGEST_LINE)
        outcome: Outcome = json.loads(line)
        return outcome

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            self._process.terminate()
            await self._process.aclose()
