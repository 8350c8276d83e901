"""The process around a service: logging, the event loop, and how it ends."""

import gc
import logging
import os
import sys

import uvloop

from mulligan import tracing
from mulligan.config import Config
from mulligan.services import logs
from mulligan.services.serve import serve
from mulligan.tracing import TraceSettings

log = logging.getLogger(__name__)

GC_THRESHOLDS = (20_000, 20, 100)
"""States of streams are many and hold no cycles: to walk them all is a pause for every caller."""


def run(name: str, config: Config) -> int:
    """Run one service to its end and return the exit code."""
    logs.set_up(name, config.log.level, config.log.format)
    gc.set_threshold(*GC_THRESHOLDS)
    if config.trace.endpoint:
        tracing.start(
            TraceSettings(
                endpoint=config.trace.endpoint,
                service=name,
                instance=str(os.getpid()),
                region=config.region,
                sample=config.trace.sample,
            )
        )
    try:
        uvloop.run(serve(name, config))
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        address = getattr(config.listen, name)
        log.error("cannot listen", extra={"address": str(address), "reason": str(error)})
        sys.stderr.write(f"error: {name} cannot listen on {address}: {error}\n")
        return 1
    finally:
        tracing.stop()
    return 0
