"""What the client does, a line each: what ``--verbose`` prints beside a command's own output."""

import logging
from typing import TextIO

from mulligan.wording import harmless

CLIENT = "mulligan.client"
"""The logger of the smart client: programs that use it may listen as well."""


class Lines(logging.Formatter):
    """Milliseconds since the command began, and what happened; no control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return f"{record.relativeCreated:6.0f} ms  {harmless(record.getMessage())}"


def tell_calls(stream: TextIO) -> None:
    """Print to ``stream``, from now on, which calls are made where, how long each takes, and why
    one is repeated. Requests and answers are never told, and so no secret is.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    logger = logging.getLogger(CLIENT)
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
