"""What every call goes through: readiness, token, permission, deadline, and errors to statuses."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

import anyio
from grpclib.const import Status
from grpclib.events import RecvRequest
from grpclib.exceptions import GRPCError, StreamTerminatedError

from mulligan.errors import (
    DeadlineExceeded,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from mulligan.handlers import roles
from mulligan.model import POSITION_HEADER, Position
from mulligan.proto.v1 import PERMISSIONS
from mulligan.services.caller import Caller, set_caller
from mulligan.services.runtime import Runtime
from mulligan.services.status import to_grpc
from mulligan.services.tokens import caller_of
from mulligan.services.visibility import told

log = logging.getLogger(__name__)


class Method(Protocol):
    """A method of a service, as grpclib calls it."""

    def __call__(self, stream: Any) -> Coroutine[Any, Any, None]:
        """Answer the call."""


_OPEN_PACKAGES = ("/grpc.health.", "/grpc.reflection.")
CATCH_UP_S = 3.0

STREAMS = frozenset(
    {
        "/mulligan.v1.Executor/ScanBmcs",
        "/mulligan.v1.Log/ReadLog",
        "/mulligan.v1.Log/WatchLog",
        "/mulligan.v1.Log/VerifyLog",
        "/mulligan.v1.Projector/RebuildProjections",
        "/mulligan.v1.Catalog/WatchEndpoints",
    }
)
"""Methods that may go on for as long as their caller wishes."""


class Gate:
    """Guards every method of a server; counts the calls in flight so that they can be drained."""

    def __init__(self, runtime: Runtime, deadline_s: float) -> None:
        self._runtime = runtime
        self._deadline_s = deadline_s
        self._draining = False
        self._idle = anyio.Event()
        self.in_flight = 0
        self.ending = anyio.Event()

    async def on_request(self, event: RecvRequest) -> None:
        """Wrap the method that grpclib is about to call."""
        if event.method_name.startswith(_OPEN_PACKAGES):
            return
        event.method_func = self._guarded(event.method_func, event.method_name, event.metadata)

    async def drain(self, within: float) -> None:
        """Refuse new calls and wait for those in flight; streams are told to end."""
        self._draining = True
        self.ending.set()
        with anyio.move_on_after(within):
            while self.in_flight:
                self._idle = anyio.Event()
                await self._idle.wait()

    def _guarded(self, method: Method, name: str, metadata: Mapping[str, Any]) -> Method:
        async def call(stream: Any) -> None:
            self.in_flight += 1
            try:
                await self._call(method, name, metadata, stream)
            finally:
                self.in_flight -= 1
                if not self.in_flight:
                    self._idle.set()

        return call

    async def _call(
        self, method: Method, name: str, metadata: Mapping[str, Any], stream: Any
    ) -> None:
        try:
            if self._draining:
                raise Unavailable("this instance is shutting down; another one answers", 0.2)
            await self._catch_up(metadata)
            permission = PERMISSIONS[name]
            if permission != "public":
                set_caller(await self._admit(permission, metadata))
            await self._bounded(method, name, stream)
        except (GRPCError, asyncio.CancelledError, StreamTerminatedError):
            raise
        except Exception as error:
            known = to_grpc(told(error))
            if known is None:
                log.exception("a call failed unexpectedly", extra={"method": name})
                known = GRPCError(Status.INTERNAL, "something unexpected failed; the log says what")
            raise known from error

    async def _catch_up(self, metadata: Mapping[str, Any]) -> None:
        """Wait until this process knows of all that the caller has seen, at whichever instance."""
        text = metadata.get(POSITION_HEADER)
        if not text:
            return
        try:
            seen = Position.parse(str(text))
        except ValueError as error:
            raise InvalidArgument(POSITION_HEADER, str(error)) from error
        if seen.region != self._runtime.region:
            return
        log = self._runtime.parts.log
        with anyio.move_on_after(CATCH_UP_S):
            await log.wait(seen.seq)
        if log.head.seq < seen.seq:
            raise Unavailable(
                f"this instance is at {log.head.seq} and you have seen {seen.seq}; try again", 0.5
            )

    async def _bounded(self, method: Method, name: str, stream: Any) -> None:
        if stream.deadline is not None:
            await method(stream)
            return
        if name in STREAMS:
            await self._streamed(method, stream)
            return
        try:
            with anyio.fail_after(self._deadline_s):
                await method(stream)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"not done within {self._deadline_s:g} s; look before you try again"
            ) from error

    async def _streamed(self, method: Method, stream: Any) -> None:
        raised: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cut_when_ending, tasks.cancel_scope)
            try:
                await method(stream)
            except Exception as error:  # leaves the group as itself, not as a group
                raised = error
            tasks.cancel_scope.cancel()
        if raised is not None:
            raise raised
        if self._draining:
            raise Unavailable("this instance is shutting down; resume at another one", 0.2)

    async def _cut_when_ending(self, scope: anyio.CancelScope) -> None:
        await self.ending.wait()
        scope.cancel()

    async def _admit(self, permission: str, metadata: Mapping[str, Any]) -> Caller:
        header = str(metadata.get("authorization", ""))
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("there is no token; log in first (mulligan login)")
        claims = await self._runtime.verify(token, "access")
        caller = caller_of(claims, str(metadata.get("traceparent", "")))
        await self._runtime.require_enabled(caller.account, claims)
        if permission != "authenticated" and not roles.grants(caller.roles, permission):
            log.warning("denied", extra={"account": caller.account, "permission": permission})
            raise PermissionDenied(
                f"this needs the permission {permission}, which your roles"
                f" ({', '.join(caller.roles) or 'none'}) do not grant"
            )
        return caller
