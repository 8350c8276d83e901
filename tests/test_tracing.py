"""Spans: none where nobody asked, bounded where nobody listens, one line for a dead collector."""

import logging
import time
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from mulligan import tracing
from mulligan.trace_export import Exporting, traces_url
from mulligan.tracing import TraceSettings
from tests.collector import Collector

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = f"{PARENT[:-2]}00"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as listening:
        yield listening
        tracing.stop()


def test_without_a_collector_there_is_no_span_and_the_caller_is_followed_all_the_same() -> None:
    with tracing.following(PARENT), tracing.span("something") as span:
        span.set("key", "value")
        span.fail("Kind")
        assert tracing.traceparent() == PARENT
    assert tracing.traceparent() == ""


def test_spans_hang_below_each_other_and_say_what_failed(collector: Collector) -> None:
    tracing.start(TraceSettings(endpoint=collector.endpoint, service="trial"))
    with (
        pytest.raises(KeyError),
        tracing.following(PARENT),
        tracing.span("outer"),
        tracing.span("inner", "client", {"key": 7}),
    ):
        raise KeyError
    tracing.stop(5.0)
    spans = {one.name: one for one in collector.spans}
    assert spans["outer"].parent == PARENT[36:52]
    assert spans["inner"].parent == spans["outer"].id
    assert {one.trace for one in spans.values()} == {PARENT[3:35]}
    assert all(one.failed for one in spans.values())
    assert spans["inner"].attributes == {"key": "7", "error.type": "KeyError"}
    assert spans["inner"].service == "mulligan-trial"


def test_work_that_is_part_of_no_trace_begins_none_unless_it_is_a_root(
    collector: Collector,
) -> None:
    tracing.start(TraceSettings(endpoint=collector.endpoint, service="trial"))
    with tracing.span("in the background"):
        assert tracing.traceparent() == ""
    with tracing.span("asked", root=True):
        assert tracing.traceparent()
    tracing.stop(5.0)
    assert [one.name for one in collector.spans] == ["asked"]


def test_the_caller_decides_whether_a_trace_is_kept_and_the_share_does_for_new_ones(
    collector: Collector,
) -> None:
    tracing.start(TraceSettings(endpoint=collector.endpoint, service="trial", sample=0.0))
    with tracing.following(UNSAMPLED), tracing.span("not kept"):
        assert tracing.traceparent().endswith("-00")
    with tracing.following(PARENT), tracing.span("kept"):
        assert tracing.traceparent().endswith("-01")
    with tracing.span("not kept by its share", root=True):
        pass
    tracing.sample(1.0)
    assert tracing.sampling() == 1.0
    with tracing.span("kept by its share", root=True):
        pass
    tracing.stop(5.0)
    assert [one.name for one in collector.spans] == ["kept", "kept by its share"]


class Dead(SpanExporter):
    """A collector that is away; counts what it is asked to take."""

    def __init__(self) -> None:
        self.asked = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked += len(spans)
        return SpanExportResult.FAILURE


def test_a_dead_collector_costs_one_line_and_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    dead = Dead()
    settings = TraceSettings(endpoint="http://127.0.0.1:9", service="trial")
    tracer = Exporting(settings, dead)
    with caplog.at_level(logging.DEBUG):
        for _ in range(10_000):
            with tracer.open("lost", "internal", PARENT, {}):
                pass
        tracer.close(5.0)
    assert dead.asked >= 512
    assert [one.getMessage() for one in caplog.records] == [
        "traces are lost: the collector is away"
    ]


def test_to_end_does_not_wait_for_a_dead_collector() -> None:
    tracing.start(TraceSettings(endpoint="http://127.0.0.1:9", service="trial"))
    with tracing.span("lost", root=True):
        pass
    began = time.monotonic()
    tracing.stop(0.5)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("given", "posted"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("https://c/", "https://c/v1/traces"),
        ("http://c:4318/otlp/traces", "http://c:4318/otlp/traces"),
    ],
)
def test_a_collector_is_named_by_its_address_or_its_whole_url(given: str, posted: str) -> None:
    assert traces_url(given) == posted
    with pytest.raises(ValueError, match="no URL"):
        traces_url(given.partition("://")[2])
