"""Settings that can be changed while a process runs."""

import logging

from mulligan.errors import InvalidArgument
from mulligan.proto import v1
from mulligan.services.limits import Limits

LEVELS = ("debug", "info", "warning", "error")


def configure(message: v1.ConfigureRequest, limits: Limits) -> v1.ConfigureResponse:
    """Apply what is set, all or nothing; return what holds now."""
    if message.log_level and message.log_level not in LEVELS:
        raise InvalidArgument(
            "log_level", f"{message.log_level!r} is not one of {', '.join(LEVELS)}"
        )
    limits.configure(message.rate, message.burst, message.in_flight)
    logger = logging.getLogger("mulligan")
    if message.log_level:
        logger.setLevel(message.log_level.upper())
    return v1.ConfigureResponse(
        log_level=logging.getLevelName(logger.getEffectiveLevel()).lower(),
        rate=limits.rate,
        burst=limits.burst,
        in_flight=limits.in_flight,
    )
