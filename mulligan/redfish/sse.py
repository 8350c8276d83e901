"""Server-sent events, parsed within bounds: a BMC's stream is not trusted to make sense or end.

The format is that of the HTML standard: lines of ``field: value``, an event at each empty line.
"""

import msgspec

LONGEST_EVENT = 256 * 1024
"""Bytes of one event, and of one line, that are kept; what is longer is passed over."""

_LONGEST_ID = 200
_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One event: its data, and the id to resume after."""

    data: bytes
    id: str


class EventParser:
    """Turns a stream's bytes into events, whatever way they are cut.

    ``last_id`` is the id to resume after, ``retry`` the pause in seconds that the server asks for
    before that (0 when it does not), ``too_long`` how many events were passed over.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry = 0.0
        self.too_long = 0
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._skip_line = False
        self._skip_event = False
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take in the next bytes and return the events that they complete."""
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
            self._after_cr = False
        if not chunk:
            return []
        self._after_cr = chunk[-1:] == b"\r"
        *ends, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events: list[ServerSentEvent] = []
        for end in ends:
            self._extend(end)
            event = self._end_of_line()
            if event is not None:
                events.append(event)
        self._extend(rest)
        return events

    def _extend(self, part: bytes) -> None:
        if self._skip_line:
            return
        if len(self._line) + len(part) > LONGEST_EVENT:
            self._skip_line = True
            self._line.clear()
        else:
            self._line += part

    def _end_of_line(self) -> ServerSentEvent | None:
        line, self._line = bytes(self._line), bytearray()
        if self._skip_line:
            self._skip_line, self._skip_event = False, True
            return None
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._end_of_event()
        name, _, value = line.partition(b":")
        self._field(name, value.removeprefix(b" "))
        return None

    def _field(self, name: bytes, value: bytes) -> None:
        match name:
            case b"data":
                self._size += len(value) + 1
                if self._size > LONGEST_EVENT:
                    self._skip_event = True
                    self._data.clear()
                elif not self._skip_event:
                    self._data.append(value)
            case b"id":
                self.last_id = _header_text(value)
            case b"retry" if value.isdigit():
                self.retry = int(value[:9]) / 1000
            case _:
                return  # a comment, which keeps the connection alive, or what nobody reads

    def _end_of_event(self) -> ServerSentEvent | None:
        data, skipped = self._data, self._skip_event
        self._data, self._size, self._skip_event = [], 0, False
        if skipped:
            self.too_long += 1
            return None
        return ServerSentEvent(b"\n".join(data), self.last_id) if data else None


def _header_text(value: bytes) -> str:
    """Return an id as it may stand in a request's header; empty when it may not."""
    text = value[: _LONGEST_ID + 1].decode("ascii", "replace")
    return text if len(text) <= _LONGEST_ID and text.isascii() and text.isprintable() else ""
