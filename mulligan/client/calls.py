"""One call to whichever instance answers: routing, repeats, identity and positions."""

import dataclasses
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import anyio
import grpclib.const
from grpclib import GRPCError, Status

from mulligan import tracing
from mulligan.client.backoff import Backoff
from mulligan.client.channels import Channels, since
from mulligan.client.directory import Directory
from mulligan.client.identity import Identity
from mulligan.client.positions import Positions
from mulligan.client.resume import resumption
from mulligan.client.status import BROKEN, Untrusted, retry_after, to_error, transport_error
from mulligan.errors import DeadlineExceeded, InvalidArgument, MulliganError, Unavailable
from mulligan.model import AT_HEADER, new_id
from mulligan.proto.v1 import PERMISSIONS, READS

log = logging.getLogger(__name__)

PATIENCE = 15.0
"""Seconds for which a call waits out restarts before it gives up."""
ATTEMPT = 10.0
"""Seconds that one attempt may take."""
CONNECT = 5.0
"""Seconds in which a stream's connection must stand."""
RENEW_S = 60.0
"""A token that is refused so soon after it was made is not worth another; a watch outlives many."""

LONG_S = 3.0
"""A call that was repeated for half of this, and may be for all of it yet, tells why, once."""

Reply = TypeVar("Reply")


class Shown(NamedTuple):
    """The entry as of which a call was answered, and when that was."""

    seq: int
    at: datetime


class Calls:
    """Makes calls of any service of a region.

    Every mutation has a request id and every read names the position it must reflect, so each
    attempt of a call is the same request, and a repeat is safe whatever became of the one before.
    """

    def __init__(
        self,
        directory: Directory,
        channels: Channels,
        positions: Positions,
        *,
        identity: Identity | None = None,
        patience: float = PATIENCE,
        at: str = "",
    ) -> None:
        self.shown: Shown | None = None
        self._at = at
        self._directory = directory
        self._channels = channels
        self._positions = positions
        self._identity = identity
        self._patience = patience

    async def unary(
        self, route: str, request: Any, reply: type[Reply], timeout: float | None = None
    ) -> Reply:
        """Send a request, again if need be, and return the answer.

        Raise one of ``mulligan.errors`` when it is refused, or when ``timeout`` (default: the
        client's patience) is over.
        """
        self._require_reading(route)
        pursuit = Pursuit(self, route, self._patience if timeout is None else timeout)
        request = with_request_id(request)
        with tracing.span(shown(route), "client"):
            while True:
                began = time.perf_counter()
                try:
                    answer = await self._attempt(pursuit, route, request, reply)
                except (GRPCError, *BROKEN, Unavailable) as error:
                    await pursuit.survive(error)
                else:
                    log.debug("%s answered in %s", pursuit, since(began))
                    self._positions.note(answer)
                    return answer

    def stream(
        self, route: str, request: Any, reply: type[Reply], timeout: float | None = None
    ) -> AsyncGenerator[Reply, None]:
        """Yield a stream's messages; go on after the last one where the stream can be resumed."""
        messages = self._stream(route, request, reply, timeout)
        self._channels.note(messages)
        return messages

    async def _stream(
        self, route: str, request: Any, reply: type[Reply], timeout: float | None
    ) -> AsyncGenerator[Reply, None]:
        self._require_reading(route)
        pursuit = Pursuit(self, route, self._patience if timeout is None else timeout)
        resume = resumption(with_request_id(request))
        while True:
            began = time.perf_counter()
            try:
                attempt = self._stream_attempt(pursuit, route, resume.request, reply)
                async with aclosing(attempt) as messages:
                    async for message in messages:
                        pursuit.backoff.restart()
                        if resume.is_new(message):
                            self._positions.note(message)
                            yield message
                if not resume.endless:
                    log.debug("%s ended after %s", pursuit, since(began))
                    return
                raise Unavailable(f"{route} ended, which it should not; its service is stopping")
            except (GRPCError, *BROKEN, Unavailable) as error:
                if not resume.possible:
                    raise self._give_up(error, route, pursuit.address) from error
                await pursuit.survive(error)

    async def _attempt(
        self, pursuit: "Pursuit", route: str, request: Any, reply: type[Reply]
    ) -> Reply:
        self._channels.require_usable()
        left = max(0.01, pursuit.backoff.left)
        with anyio.fail_after(left):
            metadata = await pursuit.prepare()
        metadata = {**metadata, **self._header()}
        request = self._positions.into(request, self._directory.region)
        async with self._channels.to(pursuit.address).request(
            route,
            grpclib.const.Cardinality.UNARY_UNARY,
            type(request),
            reply,
            timeout=min(ATTEMPT, max(0.01, pursuit.backoff.left)),
            metadata=metadata,
        ) as stream:
            await stream.send_message(request, end=True)
            answer: Reply | None = await stream.recv_message()
            self._note_moment(stream.initial_metadata)
        if answer is None:
            raise Unavailable(f"{pursuit.address} closed {route} without an answer")
        return answer

    async def _stream_attempt(
        self, pursuit: "Pursuit", route: str, request: Any, reply: type[Reply]
    ) -> AsyncGenerator[Reply, None]:
        self._channels.require_usable()
        with anyio.fail_after(max(0.01, pursuit.backoff.left)):
            metadata = await pursuit.prepare()
        metadata = {**metadata, **self._header()}
        channel = self._channels.to(pursuit.address)
        with anyio.fail_after(CONNECT):
            await channel.__connect__()
        async with channel.request(
            route,
            grpclib.const.Cardinality.UNARY_STREAM,
            type(request),
            reply,
            metadata=metadata,
        ) as stream:
            await stream.send_message(request, end=True)
            async for message in stream:
                self._note_moment(stream.initial_metadata)
                yield message

    def _header(self) -> dict[str, str]:
        """Return what goes with a call: what was seen, and the moment that is asked of."""
        found = self._positions.header(self._directory.region)
        if self._at:
            found = {**found, AT_HEADER: self._at}
        trace = tracing.traceparent()
        return {**found, tracing.HEADER: trace} if trace else found

    def _require_reading(self, route: str) -> None:
        """Refuse, before anything is sent, what cannot be asked of the past."""
        if self._at and route not in READS:
            raise InvalidArgument(AT_HEADER, f"{shown(route)} acts or tells of now; leave it out")

    def _note_moment(self, metadata: Any) -> None:
        seq, _, at = str((metadata or {}).get(AT_HEADER, "")).partition(" ")
        if at and seq.isdecimal():
            self.shown = Shown(int(seq), datetime.fromisoformat(at))

    def _give_up(self, error: Exception, route: str, address: str) -> MulliganError:
        match error:
            case GRPCError():
                return to_error(error, shown(route))
            case MulliganError():
                return error
            case _:
                return transport_error(error, address, self._channels.ca)


class Pursuit:
    """One call's way to its answer: the instance and token of this attempt, the time left."""

    def __init__(self, calls: Calls, route: str, patience: float) -> None:
        self.backoff = Backoff(patience)
        self.address = ""
        self._calls = calls
        self._route = route
        self._service = service_of(route)
        self._public = PERMISSIONS.get(route) == "public"
        self._token = ""
        self._renewed_at = -RENEW_S
        self._patience = patience
        self._said = False

    def __str__(self) -> str:
        region = self._calls._directory.region
        where = f"{region}: {shown(self._route)}" if region else shown(self._route)
        return f"{where} at {self.address}" if self.address else where

    async def prepare(self) -> dict[str, str]:
        """Choose the instance and return the metadata to call it with."""
        directory, identity = self._calls._directory, self._calls._identity
        self.address = ""
        self.address = await directory.pick(self._service)
        if self._public or identity is None:
            return {}
        self._token = await identity.access_token()
        return {"authorization": f"Bearer {self._token}"}

    async def survive(self, error: Exception) -> None:
        """Wait for the next attempt; raise what the error means if there shall be none."""
        directory, identity = self._calls._directory, self._calls._identity
        failure = self._calls._give_up(error, self._route, self.address)
        asked: float | None = None
        if isinstance(failure, Untrusted):
            raise failure from error
        if isinstance(error, GRPCError):
            if error.status is Status.UNAUTHENTICATED and identity is not None:
                now = time.monotonic()
                if self._public or now - self._renewed_at < RENEW_S:
                    raise failure from error
                self._renewed_at = now
                log.debug("%s refused the token: getting another", self)
                await identity.renew(self._token)
                return
            asked = retry_after(error)
            if not is_passing(error.status, asked):
                log.debug("%s refused: %s", self, failure.message)
                raise failure from error
        broken = not isinstance(error, GRPCError | MulliganError)
        if self.address and (broken or isinstance(failure, Unavailable)):
            directory.failed(self.address)
            if self.backoff.left and directory.has_healthy(self._service):
                log.debug("%s failed, going to another instance: %s", self, failure.message)
                return
        wait = self.backoff.next(asked)
        if wait is None:
            raise self._exhausted(failure, error) from error
        log.debug("%s failed, again in %.2f s: %s", self, wait, failure.message)
        self._say_that_it_takes_long(failure)
        await anyio.sleep(wait)

    def _say_that_it_takes_long(self, failure: MulliganError) -> None:
        left = self.backoff.left
        if not self._said and left > LONG_S and self._patience - left > LONG_S / 2:
            self._said = True
            log.info("%s; trying for %.0f s more", failure.message, left)

    def _exhausted(self, failure: MulliganError, error: Exception) -> MulliganError:
        tried = f"{failure.message} (gave up after {self._patience:g} s)"
        if isinstance(error, TimeoutError):
            return DeadlineExceeded(tried)
        if isinstance(failure, Unavailable):
            return Unavailable(tried, failure.retry_after)
        return failure


def is_passing(status: Status, asked: float | None) -> bool:
    """Tell whether the same request may succeed later without anybody changing it."""
    if status in (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED):
        return True
    return asked is not None and status in (Status.RESOURCE_EXHAUSTED, Status.ABORTED)


def service_of(route: str) -> str:
    """Return the registered name of the service that a route belongs to."""
    return route.split("/")[1].rpartition(".")[2].lower()


def shown(route: str) -> str:
    """Return a route as people write it: ``Control.DeployMachine``."""
    return route.rpartition(".")[2].replace("/", ".")


def with_request_id(request: Any) -> Any:
    """Return the request with a request id, if it takes one and has none."""
    fields = getattr(request, "__dataclass_fields__", {})
    if "request_id" not in fields or request.request_id:
        return request
    return dataclasses.replace(request, request_id=new_id())
