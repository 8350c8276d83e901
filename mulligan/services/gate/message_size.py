"""How requests come in: their frames are looked at before their contents are read into memory."""

import asyncio
from functools import partial
from typing import Any

from grpclib.protocol import Stream
from h2.exceptions import ProtocolError, StreamClosedError

from mulligan.errors import DeadlineExceeded, Exhausted, InvalidArgument
from mulligan.services.gate.wellformed import UNREADABLE

READ_S = 20.0
"""A request must have come so many seconds after it is waited for, whatever its deadline."""
_PREFIX = 5
"""Bytes before each message: whether it is compressed, and its length."""
_FREE_FRAMES, _FRAME_BYTES = 64, 64
"""Frames of a stream may be smaller than this on average only while they are few."""


class IncomingStream(Stream):
    """A call's stream as the server has it. ``unary`` once it is known to bring one message.

    ``limit`` is the longest message in bytes; ``deadline_s`` what the caller allows, None for all.
    """

    limit: int = 0
    unary: bool = False
    deadline_s: float | None = None

    _taken = 0
    _frames = 0
    _ended = False
    _in_message = False

    def charge(self, size: int) -> bool:
        """Count a frame of data; tell whether the stream has too many too small ones."""
        self._frames += 1
        return self._frames > _FREE_FRAMES + (self.data_received + size) // _FRAME_BYTES

    def __ended__(self) -> None:
        self._ended = True
        super().__ended__()

    async def recv_data(self, size: int) -> bytes:
        """Return the next bytes: a message's prefix and its contents, in turn.

        Raise InvalidArgument for what is no message, Exhausted for one that is too long.
        """
        if self._in_message:
            self._in_message = False
            data = await self._read(size)
            if self.unary and self.data_received > self._taken:
                raise InvalidArgument("request", "this call takes one message, and more came")
            return data
        prefix = await self._read(_PREFIX)
        if not prefix:
            if self.unary:
                raise InvalidArgument("request", "the call ended without its message")
            return prefix
        if prefix[0]:
            raise InvalidArgument("request", "compressed messages are not taken; send it as it is")
        length = int.from_bytes(prefix[1:], "big")
        if length > self.limit:
            raise Exhausted(
                f"the message has {length} bytes and at most {self.limit} are taken"
                " (limits.message_bytes)"
            )
        self._in_message = True
        return prefix

    async def _read(self, size: int) -> bytes:
        here = self.data_received - self._taken
        if here < size and not self._ended:
            try:
                async with asyncio.timeout(READ_S if self.unary else None):
                    data = await self._take(size)
            except TimeoutError as error:
                raise DeadlineExceeded(f"the message did not come within {READ_S:g} s") from error
        else:
            data = await self._take(size)
        self._taken += len(data)
        return data

    async def _take(self, size: int) -> bytes:
        try:
            return await super().recv_data(size)
        except AssertionError as error:  # it ended in the middle
            raise InvalidArgument("request", UNREADABLE) from error

    async def send_headers(self, headers: Any, end_stream: bool = False) -> None:
        """Send headers; raise StreamClosedError when the other side has gone."""
        try:
            await super().send_headers(headers, end_stream)
        except ProtocolError as error:
            raise self._closed(error) from error

    async def send_data(self, data: bytes, end_stream: bool = False) -> None:
        """Send data; raise StreamClosedError when the other side has gone."""
        try:
            await super().send_data(data, end_stream)
        except ProtocolError as error:
            raise self._closed(error) from error

    def reset_nowait(self, *args: Any, **named: Any) -> None:
        """End the stream, if it has not ended by itself."""
        try:
            partial(super().reset_nowait, *args, **named)()
        except ProtocolError:
            return

    def _closed(self, error: ProtocolError) -> StreamClosedError:
        return error if isinstance(error, StreamClosedError) else StreamClosedError(self.id or 0)
