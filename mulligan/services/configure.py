"""Settings that can be changed while a process runs."""

import logging

from mulligan.errors import InvalidArgument
from mulligan.proto import v1

LEVELS = ("debug", "info", "warning", "error")


def configure(message: v1.ConfigureRequest) -> v1.ConfigureResponse:
    """Apply what is set; return what holds now."""
    logger = logging.getLogger("mulligan")
    if message.log_level:
        if message.log_level not in LEVELS:
            raise InvalidArgument(
                "log_level", f"{message.log_level!r} is not one of {', '.join(LEVELS)}"
            )
        logger.setLevel(message.log_level.upper())
    level = logging.getLevelName(logger.getEffectiveLevel()).lower()
    return v1.ConfigureResponse(log_level=level)
