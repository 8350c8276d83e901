"""HTTP/1.1 as quick as it goes in Python: just what a Redfish client needs of a server."""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, cast

_REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 401: "Unauthorized",
    404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
}  # fmt: skip
_LONGEST_HEAD = 65_536
_LONGEST_BODY = 1_048_576


class Request(NamedTuple):
    """One request; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes


class Answer(NamedTuple):
    """What to answer; ``headers`` are whole lines, each with its line end."""

    status: int
    body: bytes = b""
    headers: str = ""


class Service(Protocol):
    """What answers: ``begin`` when a request is there, ``finish`` when its time has come."""

    def begin(self, request: Request) -> float:
        """Note that a request is under way, and return how many seconds it takes."""

    def finish(self, request: Request) -> Answer:
        """Do what was asked and return the answer."""


class HttpConnection(asyncio.Protocol):
    """One connection, kept alive; its requests are served one after the other as they come."""

    def __init__(self, service: Service, on_change: Callable[[int], None]) -> None:
        self._service = service
        self._on_change = on_change
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._on_change(1)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._on_change(-1)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._transport is not None and (found := self._next()) is not None:
            delay = self._service.begin(found)
            if delay > 0:
                self._loop.call_later(delay, self._finish, found)
            else:
                self._finish(found)

    def _next(self) -> Request | None:
        """Take a whole request from the buffer, if there is one."""
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            self._refuse_if(len(head) > _LONGEST_HEAD)
            return None
        first, *lines = head.split(b"\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        method, _, target = first.partition(b" ")
        length = int(headers.get(b"content-length", b"0"))
        self._refuse_if(length > _LONGEST_BODY)
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        path = target.partition(b" ")[0].decode("latin-1")
        return Request(method.decode("latin-1"), path, headers, rest[:length])

    def _refuse_if(self, too_long: bool) -> None:
        if too_long and self._transport is not None:
            self._transport.abort()

    def _finish(self, request: Request) -> None:
        answer = self._service.finish(request)
        if self._transport is None:
            return  # done all the same, as a BMC does
        head = (
            f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
            f"Content-Type: application/json\r\n{answer.headers}"
            f"Content-Length: {len(answer.body)}\r\n\r\n"
        )
        self._transport.write(head.encode("latin-1") + answer.body)
        if request.headers.get(b"connection", b"").lower() == b"close":
            self._transport.close()
