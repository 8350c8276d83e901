"""A command as the root of a trace: with ``--trace``, or where a collector is named.

``MULLIGAN_TRACE_ENDPOINT`` names it. Without one the command sends no spans of its own, but its
trace is followed all the same: by services that send theirs, in their logs, and in the log.
"""

import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from mulligan import tracing
from mulligan.errors import InvalidArgument
from mulligan.tracing import TraceSettings

ENDPOINT = "MULLIGAN_TRACE_ENDPOINT"
SAMPLE = "MULLIGAN_TRACE_SAMPLE"


async def run_traced(
    name: str, run: Callable[[], Awaitable[None]], *, wanted: bool, say: bool
) -> None:
    """Run a command as a trace, which is kept for certain where it is ``wanted``.

    Its id is added to an error. Otherwise it is printed at the end where it is ``wanted``, and at a
    terminal with ``say``.
    """
    with _traced(f"command {name.replace('_', ' ')}", wanted) as trace:
        try:
            await run()
        except Exception as error:
            error.add_note(f"  trace: {trace}")
            raise
        except BaseException:  # Ctrl-C
            _print(trace, wanted)
            raise
        _print(trace, wanted or (say and sys.stderr.isatty()))


@contextmanager
def _traced(name: str, wanted: bool) -> Iterator[str]:
    """Run the block in a trace, and give its id."""
    endpoint = os.environ.get(ENDPOINT)
    if not endpoint:
        with tracing.following(f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"):
            yield tracing.trace_id()
        return
    try:
        share = 1.0 if wanted else float(os.environ.get(SAMPLE, "1"))
        tracing.start(TraceSettings(endpoint=endpoint, service="cli", sample=share))
    except ValueError as error:
        raise InvalidArgument(ENDPOINT, f"{error}; or unset it") from None
    try:
        with tracing.span(name, root=True):
            yield tracing.trace_id()
    finally:
        tracing.stop()


def _print(trace: str, wanted: bool) -> None:
    if wanted:
        sys.stderr.write(f"trace: {trace}\n")
