"""What a service writes to standard error: constant text, with facts as fields.

A line that is written in a call, a step or a reconciliation says which: its trace, method, request,
account, machine. ``docs/observability.md`` has the fields, which a test holds against this.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from mulligan import tracing

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
FIELDS = ("at", "level", "service", "logger", "message")
"""The fields of every line in JSON; its own facts and those of the call stand beside them."""


def set_up(service: str, level: str, form: str) -> None:
    """Send this process's log to standard error as ``text`` or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service) if form == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("mulligan").setLevel(level.upper())


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    own = {k: v for k, v in vars(record).items() if k not in _STANDARD}
    return {**tracing.facts(), **own}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class TextLines(logging.Formatter):
    """Lines for people: time, level, what happened, and the facts at the end."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        facts = " ".join(f"{k}={v}" for k, v in _facts(record).items())
        line = f"{_time(record)} {record.levelname.lower():7} {record.getMessage()}"
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{line}  {facts}{trace}" if facts else f"{line}{trace}"


class JsonLines(logging.Formatter):
    """Lines for machines: an object each, every value of which is text."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        line = {
            **{k: str(v) for k, v in _facts(record).items()},
            "at": _time(record),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        ordered = {name: line.pop(name) for name in FIELDS} | line
        if record.exc_info:
            ordered["stack"] = self.formatException(record.exc_info)
        return msgspec.json.encode(ordered).decode()
