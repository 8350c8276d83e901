"""What a process tells Prometheus: what the documentation says, over plain HTTP, and no more."""

import re
import socket
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup

from mulligan.config import Address, Config, ListenConfig, MetricsConfig
from mulligan.model import Seq
from mulligan.projections.status import Batch, Building, ModelStatus
from mulligan.services.metrics import Metrics, MetricsPage
from mulligan.services.projection_metrics import ProjectionMetrics
from mulligan.services.runtime import Parts
from mulligan.services.serve import Made, open_metrics

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w, ]+) \|", re.MULTILINE)

BATCH = Batch(events=7, fold=0.002, flush=0.004, lags=(0.03, 0.3))
CLAIMS = ModelStatus(
    name="claims",
    version=2,
    seq=Seq(40),
    status="building",
    problem="",
    lag_entries=60,
    lag_seconds=1.5,
    batch=BATCH,
    building=Building(version=3, seq=Seq(10), target=Seq(100)),
)


@pytest.fixture
def metrics() -> Metrics:
    """Those of a projector that is at work and has written one batch."""
    found = Metrics("projector")
    ProjectionMetrics(found.registry, lambda: {"claims": CLAIMS}).observe("claims", BATCH)
    return found


async def ask(port: int, request: str) -> tuple[str, str]:
    """Return the first line and the body of the answer."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request.encode())
        answer = b""
        with anyio.fail_after(10):
            async for piece in stream:
                answer += piece
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head.splitlines()[0], body


def test_every_metric_is_documented_and_every_one_documented_is_there(metrics: Metrics) -> None:
    there = set()
    for family in metrics.registry.collect():
        if not family.name.startswith("process_"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            there.add((family.name, family.type, frozenset(labels)))
    documented = {
        (name, kind, frozenset(labels.split(", ")))
        for name, kind, labels in ROW.findall(DOCUMENT.read_text())
    }
    assert there == documented


def test_two_processes_in_one_count_each_for_itself(metrics: Metrics) -> None:
    other = Metrics("log")
    assert b'mulligan_projection_events_total{projection="claims"} 7.0' in metrics.page()
    assert b"mulligan_projection" not in other.page()


async def test_prometheus_reads_the_page_and_nothing_else_is_there(metrics: Metrics) -> None:
    page = MetricsPage(metrics, "127.0.0.1", 0)
    port = await page.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(page.serve)
        line, body = await ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert line == "HTTP/1.1 200 OK"
        assert 'mulligan_projection_lag_seconds{projection="claims"} 1.5' in body
        assert 'mulligan_projection_build_target{projection="claims"} 100.0' in body
        assert (
            'mulligan_projection_commit_to_row_seconds_bucket{le="0.05",projection="claims"} 1.0'
            in body
        )
        assert (await ask(port, "HEAD /metrics HTTP/1.1\r\n\r\n")) == ("HTTP/1.1 200 OK", "")
        assert "404" in (await ask(port, "GET / HTTP/1.1\r\n\r\n"))[0]
        assert "405" in (await ask(port, "POST /metrics HTTP/1.1\r\n\r\n"))[0]
        assert "404" in (await ask(port, "x" * 9000))[0]
        tasks.cancel_scope.cancel()
    with pytest.raises(OSError, match=r"refused|failed"):
        await anyio.connect_tcp("127.0.0.1", port)


async def test_a_port_that_is_taken_is_an_error_at_the_start(metrics: Metrics) -> None:
    first = MetricsPage(metrics, "127.0.0.1", 0)
    port = await first.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.serve)
        with pytest.raises(OSError, match="in use"):
            await MetricsPage(metrics, "127.0.0.1", port).open()
        tasks.cancel_scope.cancel()


async def test_a_service_serves_its_metrics_so_many_ports_above_its_own() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listen = ListenConfig(projector=Address(f"127.0.0.1:{port - 5}"))
    measured: list[Metrics] = []
    made = Made(None, nothing_besides, measure=measured.append)
    assert await open_metrics("projector", Config(listen=listen), made) is None
    config = Config(listen=listen, metrics=MetricsConfig(port_offset=5))
    page = await open_metrics("projector", config, made)
    assert page is not None
    assert len(measured) == 1
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(page.serve)
        line, body = await ask(port, "GET /metrics HTTP/1.1\r\n\r\n")
        assert line == "HTTP/1.1 200 OK"
        assert 'mulligan_build_info{service="projector"' in body
        tasks.cancel_scope.cancel()


async def nothing_besides(parts: Parts, tasks: TaskGroup) -> None:
    """Do nothing."""
