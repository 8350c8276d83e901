"""What every call goes through: limits, token, permission, deadline, and errors to statuses."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol

import anyio
from grpclib.const import Status
from grpclib.events import RecvMessage, RecvRequest
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.exceptions import StreamClosedError

from mulligan import tracing
from mulligan.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    MulliganError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from mulligan.log.protocol import EventLog
from mulligan.log.restore_plan import look
from mulligan.model import AT_HEADER, POSITION_HEADER, AccountId, Position, ProjectId
from mulligan.proto.v1 import PERMISSIONS, LoginRequest
from mulligan.services.gate.admission import Admission, Admitted
from mulligan.services.gate.caller import Peer, asked, set_asked, set_becoming, set_caller, set_peer
from mulligan.services.gate.limits import PUBLIC_BYTES, Limited
from mulligan.services.gate.moment import moment_asked
from mulligan.services.gate.status import to_grpc
from mulligan.services.gate.visibility import told
from mulligan.services.log.denials import Attempt, Denials
from mulligan.services.metrics.calls import Unobserved
from mulligan.services.runtime import Runtime
from mulligan.tracing import Span

log = logging.getLogger(__name__)


class Method(Protocol):
    """A method of a service, as grpclib calls it."""

    def __call__(self, stream: Any) -> Coroutine[Any, Any, None]:
        """Answer the call."""


CATCH_UP_S = 3.0
DEADLINE_MOST_S = 300.0
"""A unary call is given up after so long, whatever its caller allows."""
READMIT_S = 3.0
"""So often the caller of a stream must still be whom and what it was when the stream began."""
REFUSAL_S = 0.025
"""Tenants are told no sooner than this that something is not there or not theirs.

To find that an object does not exist takes a look into the database, and to find that it is
another project's may not: the time of the answer must not tell the one from the other.
"""
ENDLESS = frozenset({"/mulligan.v1.Log/WatchLog"})
"""Streams that go on until somebody ends them: they end with the token that began them."""

_LOGIN = "/mulligan.v1.Iam/Login"
_REFRESH = "/mulligan.v1.Iam/Refresh"
_CONFIGURE = "system.configure"
"""What is asked for with this permission has no limit: a limit set too low must be put right."""
_OPEN = "open"
"""The permission of gRPC's own services (health, reflection), which are not declared in protos."""


class Call:
    """One call, and what is known of its caller so far."""

    __slots__ = (
        "account", "admitted", "at", "began", "claims", "credential", "deadline_s", "login",
        "metadata", "path", "peer", "permission", "project", "stack", "token",
    )  # fmt: skip

    def __init__(self, path: str, metadata: Mapping[str, Any], stream: Any) -> None:
        self.path = path
        self.metadata = metadata
        self.began = time.monotonic()
        self.permission = PERMISSIONS.get(path, _OPEN)
        incoming = stream._stream
        self.peer: Peer = getattr(incoming.connection, "peer", Peer())
        self.deadline_s: float | None = getattr(incoming, "deadline_s", None)
        self.account = AccountId("")
        self.project = ProjectId("")
        self.at = ""
        self.credential = ""
        self.login = ""
        self.token = ""
        self.claims: Mapping[str, Any] = {}
        self.admitted: Admitted | None = None
        self.stack: ExitStack | None = None

    @property
    def shown(self) -> str:
        """The method as people write it: ``Control.PowerMachine``."""
        return self.path.rpartition(".")[2].replace("/", ".")

    def become(self, path: str) -> None:
        """Ask for the permission of another method, and act with the reach that it gives."""
        assert self.admitted is not None, "only an admitted caller becomes anything"
        self.permission = PERMISSIONS[path]
        self.admitted.require(self.permission)
        set_caller(self.admitted.making(self.permission, tracing.traceparent()))

    def facts(self) -> tracing.Facts:
        """Return what lines of the log that are about the call say of it."""
        said = {"method": self.shown}
        message = asked()
        if message is not None:
            said["request_id"] = message.request_id
        if self.account:
            said["account"] = self.account
        return said

    def attempt(self, reason: str) -> Attempt:
        """Return the call as a denied attempt."""
        return Attempt(
            method=self.shown,
            reason=reason,
            account=self.account,
            project=self.project,
            permission=self.permission if reason == "permission" else "",
            credential=self.credential,
            login=self.login,
        )


_logging_in: ContextVar[Call] = ContextVar("logging_in")


class Gate:
    """Guards every method of a server; counts the calls in flight so that they can be drained.

    ``streams`` are the paths of methods that may go on for as long as their caller wishes.
    """

    def __init__(self, runtime: Runtime, denials: Denials, streams: Collection[str]) -> None:
        self._rt = runtime
        self._limits = runtime.limits
        self._admission = Admission(runtime)
        self._denials = denials
        self._streams = frozenset(streams)
        self.observer = Unobserved()
        self._draining = False
        self._idle = anyio.Event()
        self.in_flight = 0
        self.ending = anyio.Event()

    async def on_request(self, event: RecvRequest) -> None:
        """Wrap the method that grpclib is about to call."""
        event.method_func = self._guarded(event.method_func, event.method_name, event.metadata)

    async def on_message(self, event: RecvMessage) -> None:
        """Keep what is asked for; hold a login to its limits as soon as it says who wants in."""
        set_asked(event.message)
        if isinstance(event.message, LoginRequest):
            self._limit_login(_logging_in.get(), event.message.account)

    async def drain(self, within: float) -> None:
        """Refuse new calls and wait for those in flight; streams are told to end."""
        self._draining = True
        self.ending.set()
        with anyio.move_on_after(within):
            while self.in_flight:
                self._idle = anyio.Event()
                await self._idle.wait()

    def _guarded(self, method: Method, path: str, metadata: Mapping[str, Any]) -> Method:
        async def guarded(stream: Any) -> None:
            call = Call(path, metadata, stream)
            tracing.join(tracing.well_formed(str(metadata.get(tracing.HEADER, ""))))
            tracing.concern(call.facts)
            self.in_flight += 1
            status = "CANCELLED"
            try:
                with tracing.span(call.shown, "server", root=call.permission is not _OPEN) as span:
                    await self._call(call, method, stream, span)
                status = "OK"
            except GRPCError as error:
                status = error.status.name
                raise
            finally:
                self.observer.call(call.shown, status, time.monotonic() - call.began)
                self.in_flight -= 1
                if not self.in_flight:
                    self._idle.set()

        return guarded

    async def _call(self, call: Call, method: Method, stream: Any, span: Span) -> None:
        try:
            if self._draining and call.permission is not _OPEN:
                raise Unavailable("this instance is shutting down; another one answers", 0.2)
            call.at = moment_asked(call.path, call.metadata)
            set_peer(call.peer)
            if call.permission in {"public", _OPEN}:
                await self._public(call, method, stream)
            else:
                await self._private(call, method, stream)
        except (GRPCError, asyncio.CancelledError, StreamTerminatedError):
            raise
        except StreamClosedError as error:
            raise GRPCError(Status.CANCELLED, "the caller has gone") from error
        except Exception as error:
            self._note(call, error)
            await self._even_out(call, error)
            known = to_grpc(told(error))
            if known is None:
                log.exception("a call failed unexpectedly")
                known = GRPCError(Status.INTERNAL, "something unexpected failed; the log says what")
            raise known from error
        finally:
            for key, value in call.facts().items() if tracing.is_on() else ():
                span.set(f"mulligan.{key}", value)

    async def _public(self, call: Call, method: Method, stream: Any) -> None:
        streaming = call.path in self._streams
        stream._stream.limit = min(stream._stream.limit, PUBLIC_BYTES)
        with self._limits.public(call.peer.host, stream=streaming), ExitStack() as stack:
            call.stack = stack
            _logging_in.set(call)
            if call.permission is not _OPEN:
                await self._catch_up(call.metadata)
            await self._bounded(call, method, stream)

    async def _private(self, call: Call, method: Method, stream: Any) -> None:
        call.token = _bearer(call.metadata)
        known = self._admission.recall(call.token)
        call.claims = claims = known.claims if known is not None else await self._verified(call)
        call.account = AccountId(str(claims["sub"]))
        call.project = ProjectId(str(claims.get("project", "")))
        call.credential = str(claims.get("cred", ""))
        exempt = call.permission == _CONFIGURE
        streaming = call.path in self._streams
        with nullcontext() if exempt else self._limits.slot(call.account, stream=streaming):
            await self._catch_up(call.metadata)
            call.admitted = admitted = await self._admission.admit(call.token, claims)
            if not (exempt and admitted.may(call.permission)):
                self._limits.rated(admitted.payer)
            admitted.require(call.permission)
            set_caller(admitted.making(call.permission, tracing.traceparent()))
            set_becoming(call.become)
            if call.at:
                shown = await self._rt.look_back(call.at)
                await stream.send_initial_metadata(metadata={AT_HEADER: shown})
            await self._bounded(call, method, stream)

    async def _verified(self, call: Call) -> Mapping[str, Any]:
        """Return the token's claims; a host that only guesses is stopped from guessing."""
        if not self._admission.remembers(call.token):
            self._limits.token(call.peer.host)
        try:
            claims = await self._admission.verify(call.token)
        except Unauthenticated:
            self.observer.token("refused")
            self._limits.bad_token(call.peer.host)
            raise
        self.observer.token("verified")
        return claims

    def _limit_login(self, call: Call, account: str) -> None:
        assert call.stack is not None
        proof = hashlib.sha256(call.peer.certificate).hexdigest() if call.peer.certificate else ""
        call.login = account[:256]
        room: AbstractContextManager[None] = self._limits.login(
            account[:256] or f"certificate/{proof}", call.peer.host
        )
        call.stack.enter_context(room)

    async def _catch_up(self, metadata: Mapping[str, Any]) -> None:
        """Wait until this process knows of all that the caller has seen, at whichever instance."""
        text = metadata.get(POSITION_HEADER)
        if not text:
            return
        try:
            seen = Position.parse(str(text))
        except ValueError as error:
            raise InvalidArgument(POSITION_HEADER, str(error)[:200]) from error
        if seen.region != self._rt.region:
            return
        log = self._rt.present.log
        if log.head.seq >= seen.seq:
            return
        with anyio.move_on_after(CATCH_UP_S):
            await log.wait(seen.seq)
        if log.head.seq >= seen.seq:
            return
        if log.failure is None:
            await self._require_reachable(log, seen)
        raise Unavailable(
            f"this instance is at {log.head.seq} and you have seen {seen.seq}; try again", 0.5
        )

    async def _require_reachable(self, log: EventLog, seen: Position) -> None:
        """Raise FailedPrecondition for a position that lies beyond the log as it is stored."""
        found = await look(self._rt.present.etcd, log.region)
        head = found.head.seq if found.head is not None else 0
        if head < seen.seq:
            raise FailedPrecondition(
                f"you have seen entry {seen.seq} of {seen.region}, and its log ends at {head}: it"
                " was put back to an older state, or the position is of another region. Tell an"
                " operator (docs/how-to/back-up-and-restore.md), or forget what you have seen"
                " (--stale; a command line does so by itself within a minute)"
            )

    async def _bounded(self, call: Call, method: Method, stream: Any) -> None:
        if call.path in self._streams:
            await self._within(call.deadline_s, lambda: self._streamed(call, method, stream))
            return
        allowed = self._rt.config.limits.deadline_s
        if call.deadline_s is not None:
            allowed = min(call.deadline_s, DEADLINE_MOST_S)
        await self._within(allowed, lambda: method(stream))

    async def _within(
        self, seconds: float | None, act: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        if seconds is not None and seconds <= 0:
            raise DeadlineExceeded("the deadline was over before the call came")
        with anyio.move_on_after(seconds) as scope:
            await act()
        if scope.cancelled_caught:
            raise DeadlineExceeded(f"not done within {seconds:g} s; look before you try again")

    async def _streamed(self, call: Call, method: Method, stream: Any) -> None:
        raised: list[Exception] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cut_when_ending, tasks.cancel_scope)
            if call.admitted is not None:
                tasks.start_soon(self._cut_when_refused, call, tasks.cancel_scope, raised)
            try:
                await method(stream)
            except Exception as error:  # leaves the group as itself, not as a group
                raised.append(error)
            tasks.cancel_scope.cancel()
        if raised:
            raise raised[0]
        if self._draining:
            raise Unavailable("this instance is shutting down; resume at another one", 0.2)

    async def _cut_when_ending(self, scope: anyio.CancelScope) -> None:
        await self.ending.wait()
        scope.cancel()

    async def _cut_when_refused(
        self, call: Call, scope: anyio.CancelScope, raised: list[Exception]
    ) -> None:
        """End a stream whose caller may no longer have it, or other things than it began with."""
        assert call.admitted is not None
        began_as = call.admitted.caller
        while True:
            await anyio.sleep(READMIT_S)
            try:
                if call.path in ENDLESS:
                    await self._admission.verify(call.token)
                now = await self._admission.admit(call.token, call.claims)
                now.require(call.permission)
                if now.caller.roles != began_as.roles:
                    raise Unavailable("your roles have changed; begin again", 0.1)
            except Unavailable as error:
                if not self._rt.ready:
                    continue  # it cannot be told at present
                raised.append(error)
            except MulliganError as error:
                raised.append(error)
            if raised:
                scope.cancel()
                return

    def _note(self, call: Call, error: Exception) -> None:
        """Count what was denied."""
        match error:
            case Limited():
                reason = "rate"
            case PermissionDenied():
                reason = "permission"
            case Unauthenticated() if call.path == _LOGIN:
                reason = "login"
            case Unauthenticated():
                reason = "token"
                if call.path == _REFRESH:
                    self._limits.bad_token(call.peer.host)
            case _:
                return
        self.observer.refused(reason)
        self._denials.note(call.attempt(reason), call.peer.host)

    async def _even_out(self, call: Call, error: Exception) -> None:
        """Let the time of a refusal not tell its reason."""
        if not isinstance(error, NotFound | PermissionDenied):
            return
        if call.admitted is not None and call.admitted.reaching(call.permission).is_system:
            return
        await anyio.sleep(max(0.0, call.began + REFUSAL_S - time.monotonic()))


def _bearer(metadata: Mapping[str, Any]) -> str:
    scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("there is no token; log in first (mulligan login)")
    return token
