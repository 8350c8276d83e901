"""A command as the root of a trace, where ``MULLIGAN_TRACE_ENDPOINT`` names a collector."""

import os
import sys
from collections.abc import Awaitable, Callable

from mulligan import tracing
from mulligan.errors import InvalidArgument
from mulligan.tracing import TraceSettings

ENDPOINT = "MULLIGAN_TRACE_ENDPOINT"
SAMPLE = "MULLIGAN_TRACE_SAMPLE"


async def run_traced(name: str, run: Callable[[], Awaitable[None]], *, say: bool) -> None:
    """Run a command in a span; ``say`` its trace's id at a terminal, and to all with an error."""
    try:
        share = float(os.environ.get(SAMPLE, "1"))
        tracing.start(TraceSettings(endpoint=os.environ[ENDPOINT], service="cli", sample=share))
    except ValueError as error:
        raise InvalidArgument(ENDPOINT, f"{error}; or unset it") from None
    try:
        with tracing.span(f"command {name.replace('_', ' ')}", root=True):
            trace = tracing.trace_id()
            try:
                await run()
            except Exception as error:
                error.add_note(f"  trace: {trace}")
                raise
        if say and sys.stderr.isatty():
            sys.stderr.write(f"trace: {trace}\n")
    finally:
        tracing.stop()
