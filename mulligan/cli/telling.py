"""What the client does, a line each, beside a command's own output: all of it, or what matters."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from mulligan.wording import harmless

CLIENT = "mulligan.client"
"""The logger of the smart client: programs that use it may listen as well."""


class Lines(logging.Formatter):
    """What happened, after milliseconds since the command began or as a note; harmless to print."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        note = record.levelno >= logging.INFO
        mark = "note:" if note else f"{record.relativeCreated:6.0f} ms "
        return f"{mark} {harmless(record.getMessage())}"


@contextmanager
def telling(stream: TextIO, *, verbose: bool) -> Iterator[None]:
    """Print to ``stream``, within the block, why the command takes long, where it does.

    ``verbose`` tells all: which calls are made where, how long each takes, and why one is repeated.
    Requests and answers are never told, and so no secret is.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    logger = logging.getLogger(CLIENT)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
