"""The process around a service: logging, the event loop, and how it ends."""

import errno
import gc
import logging
import os
import ssl
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
    except ssl.SSLError as error:
        return _cannot(f"use {config.tls.cert} with {config.tls.key}", error.reason or str(error))
    except OSError as error:
        address = getattr(config.listen, name)
        taken = error.errno == errno.EADDRINUSE
        reason = f"another program does; set listen.{name}, or stop it" if taken else str(error)
        return _cannot(f"listen on {address}", reason)
    finally:
        tracing.stop()
    return 0


def _cannot(what: str, reason: str) -> int:
    """Tell why the service does not start, to the log and to who waits; return the exit code."""
    log.error("cannot start", extra={"cannot": what, "reason": reason})
    sys.stderr.write(f"error: it cannot {what}: {reason}\n")
    return 1
