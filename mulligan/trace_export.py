"""Spans on their way to a collector: OpenTelemetry's SDK, bounded, and quiet when nobody listens.

Spans wait in memory, at most ``_WAITING`` of them; more are dropped. A thread sends them, so a
collector that is slow or dead holds up nobody: it costs one line of the log, and one when it is
back. What a request may not tell is never put into a span: see ``docs/observability.md``.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.util.types import Attributes

from mulligan import __version__
from mulligan.tracing import Kind, TraceSettings, Value

log = logging.getLogger(__name__)
logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it says the same each time

_WAITING = 4096
_AT_ONCE = 512
_DELAY_MS = 500
_LONGEST = 300
"""Characters of an attribute."""
_TIMEOUT_S = 3.0
_PATH = "/v1/traces"
_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}


class Exporting:
    """Makes spans and sends them; see ``tracing.Tracer``."""

    def __init__(self, settings: TraceSettings, exporter: SpanExporter | None = None) -> None:
        self._sampler = _Share(settings.sample)
        self._provider = TracerProvider(
            sampler=ParentBased(self._sampler),
            resource=Resource.create(_resource(settings)),
            span_limits=SpanLimits(max_span_attribute_length=_LONGEST),
            shutdown_on_exit=False,
        )
        url = traces_url(settings.endpoint)
        sender = exporter or OTLPSpanExporter(endpoint=url, timeout=_TIMEOUT_S)
        self._processor = BatchSpanProcessor(
            _Quiet(sender, url),
            max_queue_size=_WAITING,
            max_export_batch_size=_AT_ONCE,
            schedule_delay_millis=_DELAY_MS,
        )
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("mulligan", __version__)

    @property
    def sample(self) -> float:
        """The share of new traces that is kept."""
        return self._sampler.share

    @sample.setter
    def sample(self, share: float) -> None:
        self._sampler.share = share

    @contextmanager
    def open(
        self, name: str, kind: Kind, parent: str, attributes: Mapping[str, Value]
    ) -> Iterator["Made"]:
        """Run the block in a span below ``parent``."""
        span = self._tracer.start_span(
            name, context=_context(parent), kind=_KINDS[kind], attributes=attributes
        )
        try:
            yield Made(span)
        finally:
            span.end()

    def close(self, within: float) -> None:
        """Send what is left, for so many seconds at most."""
        # its exporter counts the time-out of each request, and this the wait for its thread
        self._processor._batch_processor.shutdown(timeout_millis=int(within * 1000))


class Made:
    """A span that runs."""

    def __init__(self, span: ApiSpan) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = (
            f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        )

    def set(self, key: str, value: Value) -> None:
        """Say more of it."""
        self._span.set_attribute(key, value)

    def fail(self, kind: str) -> None:
        """Mark it as failed."""
        self._span.set_status(Status(StatusCode.ERROR))
        self._span.set_attribute("error.type", kind)


class _Share(Sampler):
    """Keeps a share of new traces, which may change."""

    def __init__(self, share: float) -> None:
        self.share = share

    @property
    def share(self) -> float:
        """The share, 0 to 1."""
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        self._share = share
        self._ratio = TraceIdRatioBased(share)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide by the trace's id."""
        return self._ratio.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """Name it."""
        return f"Share({self._share})"


class _Quiet(SpanExporter):
    """Says once that a collector is away, and once that it is back."""

    def __init__(self, sender: SpanExporter, url: str) -> None:
        self._sender = sender
        self._url = url
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans, or lose them."""
        try:
            result = self._sender.export(spans)
        except Exception:
            result = SpanExportResult.FAILURE
        away = result is not SpanExportResult.SUCCESS
        if away != self._away:
            self._away = away
            text = "traces are lost: the collector is away" if away else "the collector is back"
            log.log(logging.WARNING if away else logging.INFO, text, extra={"endpoint": self._url})
        return result

    def shutdown(self) -> None:
        """Send no more."""
        self._sender.shutdown()


def traces_url(endpoint: str) -> str:
    """Return where spans are posted; raise ValueError for what is no http(s) URL.

    A URL without a path is a collector's, whose path for spans is ``/v1/traces``.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{endpoint!r} is no URL such as http://127.0.0.1:4318")
    path = parts.path if parts.path not in ("", "/") else _PATH
    return parts._replace(path=path).geturl()


def _resource(settings: TraceSettings) -> dict[str, Value]:
    return {
        "service.name": f"mulligan-{settings.service}",
        "service.version": __version__,
        "service.instance.id": settings.instance,
        "mulligan.region": settings.region,
    }


def _context(parent: str) -> Context:
    if not parent:
        return Context()
    _, trace, span, flags = parent.split("-")
    remote = SpanContext(
        int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return set_span_in_context(NonRecordingSpan(remote), Context())
