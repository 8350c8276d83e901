"""What is kept of the talk with a BMC: a bounded list of digests and notes for one step."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256

from mulligan.events.machine import Exchange

_KEPT = 40
_EXCERPT = 200
_SECRET = re.compile(
    r"""(?ix) ("?(?: password | x-auth-token | authorization | token | secret )"?\s*[:=]\s*)
        ("[^"]*" | \S+ )"""
)


class Record:
    """The exchanges and notes of one step, in order.

    A poll that got the very same answer as the one before is counted, not kept. Of more than 40
    exchanges, the first and the last are kept.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._first: list[Exchange] = []
        self._last: list[Exchange] = []
        self.left_out = 0

    def add(self, exchange: Exchange) -> None:
        """Keep one exchange."""
        kept = self._last or self._first
        if kept and _same(kept[-1], exchange):
            self.left_out += 1
        elif len(self._first) < _KEPT // 2:
            self._first.append(exchange)
        else:
            self._last.append(exchange)
            if len(self._last) > _KEPT // 2:
                self._last.pop(0)
                self.left_out += 1

    def note(self, text: str) -> None:
        """Keep one remark, once."""
        if text not in self.notes and len(self.notes) < _KEPT:
            self.notes.append(text)

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """What was kept, in order."""
        return (*self._first, *self._last)


def _same(one: Exchange, other: Exchange) -> bool:
    return (one.method, one.path, one.status, one.body_sha256) == (
        other.method,
        other.path,
        other.status,
        other.body_sha256,
    )


_recording: ContextVar[Record | None] = ContextVar("recording", default=None)


@contextmanager
def recording() -> Iterator[Record]:
    """Collect what this task and its children say to BMCs."""
    record = Record()
    token = _recording.set(record)
    try:
        yield record
    finally:
        _recording.reset(token)


def keep(exchange: Exchange) -> None:
    """Add an exchange to the record of the current step, if there is one."""
    record = _recording.get()
    if record is not None:
        record.add(exchange)


def note(text: str) -> None:
    """Add a remark to the record of the current step, if there is one."""
    record = _recording.get()
    if record is not None:
        record.note(text)


def digest(body: bytes) -> str:
    """Return the sha256 (hex) of a body, or nothing for none."""
    return sha256(body).hexdigest() if body else ""


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return at most 200 printable characters of ``text`` without anything secret in it."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    text = _SECRET.sub(r"\1***", text)
    text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())[:_EXCERPT]
