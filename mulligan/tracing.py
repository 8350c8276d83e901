"""Traces: which span this task works in, and what lines of the log are about.

A trace is followed whether or not this process tells anybody of it: the ``traceparent`` (W3C) of a
caller goes into the commit it makes, and from there into whatever the commit causes. Spans are made
and sent only once ``start`` was called; before that, ``span`` costs next to nothing, and the
OpenTelemetry SDK is not even imported. Like a process's log, there is one tracer a process.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Literal, Protocol

import msgspec

HEADER = "traceparent"
"""The name of the gRPC metadata that carries the caller's span."""

Kind = Literal["internal", "server", "client"]
Value = str | int | float | bool
Facts = Mapping[str, str]

_FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_here: ContextVar[str] = ContextVar("traceparent", default="")


class TraceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where spans go (OTLP over HTTP), who sends them, and which share of new traces is kept."""

    endpoint: str
    service: str
    instance: str = ""
    region: str = ""
    sample: float = 1.0


class Span(Protocol):
    """Something that takes time and is part of a trace."""

    def set(self, key: str, value: Value) -> None:
        """Say more of it; never a secret."""

    def fail(self, kind: str) -> None:
        """Mark it as failed, for errors of a kind."""


class Tracer(Protocol):
    """Makes spans and sends them."""

    sample: float

    def open(
        self, name: str, kind: Kind, parent: str, attributes: Mapping[str, Value]
    ) -> AbstractContextManager["OpenSpan"]:
        """Run the block in a span below ``parent``, a traceparent, or in a new trace without."""

    def close(self, within: float) -> None:
        """Send what is left, for so many seconds at most."""


class OpenSpan(Span, Protocol):
    """A span that runs, with its own traceparent."""

    traceparent: str


class _Nothing:
    """The span of who makes none."""

    traceparent = ""

    def set(self, key: str, value: Value) -> None:
        """Say nothing."""

    def fail(self, kind: str) -> None:
        """Say nothing."""


_SAY_NOTHING: Mapping[str, Value] = {}
_NO_SPAN: AbstractContextManager[Span] = nullcontext(_Nothing())
_tracer: Tracer | None = None


def start(settings: TraceSettings) -> None:
    """Make spans from now on and send them; raise ValueError for an endpoint that is no URL."""
    from mulligan.trace_export import Exporting

    global _tracer
    stop()
    _tracer = Exporting(settings)


def stop(within: float = 1.0) -> None:
    """Make no more spans; send those that are done, for so many seconds at most."""
    global _tracer
    tracer, _tracer = _tracer, None
    if tracer is not None:
        tracer.close(within)


def is_on() -> bool:
    """Tell whether spans are made and sent."""
    return _tracer is not None


def sampling() -> float:
    """Return the share of new traces that is kept; 0 when none are made."""
    return _tracer.sample if _tracer is not None else 0.0


def sample(share: float) -> None:
    """Keep another share of the traces that begin here from now on."""
    if _tracer is not None:
        _tracer.sample = share


def traceparent() -> str:
    """Return the span that this task works in, or its caller's; empty without a trace."""
    return _here.get()


def trace_id(parent: str | None = None) -> str:
    """Return the id of the trace that this task, or ``parent``, is part of; empty without one."""
    return (_here.get() if parent is None else parent)[3:35]


def well_formed(text: str) -> str:
    """Return a traceparent as it is; empty if it is none."""
    found = _FORM.fullmatch(text)
    return text if found and found[1].strip("0") and found[2].strip("0") else ""


def span(
    name: str,
    kind: Kind = "internal",
    about: Mapping[str, Value] = _SAY_NOTHING,
    *,
    root: bool = False,
) -> AbstractContextManager[Span]:
    """Run the block in a span, if this task is part of a trace or ``root`` begins one.

    ``about`` says more of it, and never a secret.
    """
    tracer, parent = _tracer, _here.get()
    if tracer is None or not (parent or root):
        return _NO_SPAN
    return _opened(tracer, name, kind, parent, about)


@contextmanager
def _opened(
    tracer: Tracer, name: str, kind: Kind, parent: str, attributes: Mapping[str, Value]
) -> Iterator[Span]:
    with tracer.open(name, kind, parent, attributes) as made:
        before = _here.set(made.traceparent)
        try:
            yield made
        except BaseException as error:
            made.fail(type(error).__name__)
            raise
        finally:
            _here.reset(before)


@contextmanager
def following(parent: str) -> Iterator[None]:
    """Run the block as part of the trace of ``parent``; of none if that is no traceparent."""
    before = _here.set(well_formed(parent))
    try:
        yield
    finally:
        _here.reset(before)


def join(parent: str) -> None:
    """Make this task part of the trace of ``parent``, to its end."""
    _here.set(parent)


_NO_FACTS: Facts = {}
_about: ContextVar[Callable[[], Facts] | None] = ContextVar("about", default=None)


def concern(facts: Callable[[], Facts]) -> None:
    """Have every line that this task logs, to its end, carry what ``facts`` returns then."""
    _about.set(facts)


@contextmanager
def concerning(**facts: str) -> Iterator[None]:
    """Have every line that is logged in the block carry these facts."""
    before = _about.set(lambda: facts)
    try:
        yield
    finally:
        _about.reset(before)


def facts() -> Facts:
    """Return what the present task is about: its trace first, if it is part of one."""
    about, trace = _about.get(), trace_id()
    known = about() if about is not None else _NO_FACTS
    return {"trace_id": trace, **known} if trace else known
