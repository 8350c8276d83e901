"""Settings that can be changed while a process runs, for good or for a while."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from mulligan import tracing
from mulligan.errors import InvalidArgument
from mulligan.model import utc_now
from mulligan.proto import v1
from mulligan.services.gate.limits import Limits

LEVELS = ("debug", "info", "warning", "error")
ROOT = "mulligan"
MOST_S = 86_400.0
MOST_LOGGERS = 100

log = logging.getLogger(__name__)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What holds at one moment."""

    loggers: Mapping[str, int]
    rate: float
    burst: int
    in_flight: int
    sample: float


class Settings:
    """What one process goes by; a change may be undone by itself after a while."""

    def __init__(self, limits: Limits, instance: str) -> None:
        self._limits = limits
        self._instance = instance
        self._loggers: set[str] = {ROOT}
        self._before: Held | None = None
        self._reverting: asyncio.TimerHandle | None = None
        self._reverts_at: datetime | None = None

    def configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Apply what is set, all or nothing; return what holds now.

        A change for a while puts back, at its end, what held before the first such change. A change
        for good makes all that holds then stay.
        """
        self._check(message)
        if self._changes(message):
            before = self._held()
            self._limits.configure(message.rate, message.burst, message.in_flight)
            self._apply(message)
            self._plan(before, message.revert_after)
        return self._told()

    def _check(self, message: v1.ConfigureRequest) -> None:
        level, logger, share = message.log_level, message.logger, message.trace_sample
        if level and level not in LEVELS:
            raise InvalidArgument("log_level", f"{level!r} is not one of {', '.join(LEVELS)}")
        if logger and not (logger == ROOT or logger.startswith(f"{ROOT}.")):
            raise InvalidArgument("logger", f"give {ROOT}, or one below it such as {ROOT}.redfish")
        if len(logger) > 100 or (logger and not all(logger.split("."))):
            raise InvalidArgument("logger", "this is no name of a logger")
        if logger and not level:
            raise InvalidArgument("log_level", f"say which level {logger[:100]} shall have")
        if logger and logger not in self._loggers and len(self._loggers) >= MOST_LOGGERS:
            raise InvalidArgument("logger", f"at most {MOST_LOGGERS} have a level of their own")
        if share is not None and not 0 <= share <= 1:
            raise InvalidArgument("trace_sample", "give a share from 0 to 1")
        if share is not None and not tracing.is_on():
            raise InvalidArgument(
                "trace_sample", "no traces are sent here: set trace.endpoint and start it again"
            )
        if not 0 <= message.revert_after <= MOST_S:
            raise InvalidArgument("revert_after", f"give 0 to {MOST_S:g} seconds")

    def _changes(self, message: v1.ConfigureRequest) -> bool:
        asked = (message.log_level, message.rate, message.burst, message.in_flight)
        return any(asked) or message.trace_sample is not None

    def _apply(self, message: v1.ConfigureRequest) -> None:
        if message.log_level:
            name = message.logger or ROOT
            self._loggers.add(name)
            logging.getLogger(name).setLevel(message.log_level.upper())
        if message.trace_sample is not None:
            tracing.sample(message.trace_sample)
        log.warning("configured", extra={"until": message.revert_after or "it ends"})

    def _plan(self, before: Held, seconds: float) -> None:
        """Have what held before come back after so many seconds, or never."""
        if self._reverting is not None:
            self._reverting.cancel()
        if not seconds:
            self._before = self._reverting = self._reverts_at = None
            return
        self._before = self._before or before
        self._reverts_at = utc_now() + timedelta(seconds=seconds)
        self._reverting = asyncio.get_running_loop().call_later(seconds, self._revert)

    def _revert(self) -> None:
        before, self._before = self._before, None
        self._reverting = self._reverts_at = None
        if before is None:
            return
        for name in self._loggers:
            logging.getLogger(name).setLevel(before.loggers.get(name, logging.NOTSET))
        self._loggers = set(before.loggers)
        self._limits.configure(before.rate, before.burst, before.in_flight)
        tracing.sample(before.sample)
        log.warning("what was configured for a while is over")

    def _held(self) -> Held:
        limits = self._limits
        return Held(
            loggers={name: logging.getLogger(name).level for name in self._loggers},
            rate=limits.rate,
            burst=limits.burst,
            in_flight=limits.in_flight,
            sample=tracing.sampling(),
        )

    def _told(self) -> v1.ConfigureResponse:
        held = self._held()
        return v1.ConfigureResponse(
            log_level=level_of(ROOT),
            rate=held.rate,
            burst=held.burst,
            in_flight=held.in_flight,
            instance=self._instance,
            loggers={name: level_of(name) for name in sorted(self._loggers - {ROOT})},
            trace_sample=held.sample,
            traces=tracing.is_on(),
            reverts_at=self._reverts_at,
        )


def level_of(logger: str) -> str:
    """Return the level that a logger goes by."""
    return logging.getLevelName(logging.getLogger(logger).getEffectiveLevel()).lower()
