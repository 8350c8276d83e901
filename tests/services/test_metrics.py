"""What a process tells Prometheus: what the documentation says, over plain HTTP, and no more."""

import re
import socket
from pathlib import Path
from typing import cast

import anyio
import pytest
from anyio.abc import TaskGroup
from prometheus_client.metrics_core import Metric

from mulligan.config import Address, Config, ListenConfig, MetricsConfig
from mulligan.log.protocol import Head
from mulligan.model import Seq
from mulligan.projections.status import Batch, Building, ModelStatus
from mulligan.queries.tallies import ClaimTally, MachineTally
from mulligan.services.metrics.archive import ArchiveMetrics, ArchiveTally
from mulligan.services.metrics.calls import CallMetrics, CallsNow
from mulligan.services.metrics.executor import ExecutorMetrics
from mulligan.services.metrics.fleet import ControlMetrics, ResourceMetrics
from mulligan.services.metrics.process import ProcessMetrics
from mulligan.services.metrics.projections import ProjectionMetrics
from mulligan.services.metrics.registry import Metrics, MetricsPage
from mulligan.services.runtime import Parts, Runtime
from mulligan.services.serve import Made, open_metrics

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(mulligan_\w+)` \| (\w+) \| ([\w, ]*)\|", re.MULTILINE)

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


MACHINES = MachineTally(states={"active": 3}, operations={"deploy": 1}, late=1, brakes=0)
ARCHIVE = ArchiveTally(
    sealed=40,
    copied=70,
    head=100,
    segments=2,
    segment_bytes=5000,
    stuck=False,
    copied_at=1.8e9,
    store_bytes=3,
    store_used_bytes=2,
    store_quota_bytes=9,
    saved_at=1.8e9,
    overdue=False,
    members=3,
    members_away=1,
)


class AtWork:
    """An executor with one step at work."""

    def running(self) -> dict[str, int]:
        return {"power_on": 1}

    def counts(self) -> dict[str, int]:
        return dict.fromkeys(
            (
                "work_waiting", "work_sharing", "bmc_clients", "bmc_breakers_open",
                "bmc_event_streams", "machines_watched",
            ),
            1,
        )  # fmt: skip


class OpenLog:
    """A log as the metrics look at it."""

    head = Head(seq=Seq(7), hash="", log_id="")
    failure = None
    waiting, transactions, lost_races = 1, 5, 2


class OpenRuntime:
    """A runtime as the metrics look at it."""

    config = Config()
    ready = True
    event_log = OpenLog()


@pytest.fixture
def metrics() -> Metrics:
    """Those of every service, each of which has seen one of everything."""
    found = Metrics("projector")
    ProjectionMetrics(found.registry, lambda: {"claims": CLAIMS}).observe("claims", BATCH)
    calls = CallMetrics(found.registry)
    calls.call("Iam.Login", "OK", 0.003)
    calls.refused("rate")
    calls.token("verified")
    found.registry.register(CallsNow(lambda: 2, lambda: 1))
    process = ProcessMetrics(found.registry, cast(Runtime, OpenRuntime()))
    process.commit("appended", 2, 0.004)
    process.stood("etcd", True, 0.002)
    process.ends("service", 2e9)
    control, resource = ControlMetrics(), ResourceMetrics()
    control.register(found.registry)
    control.take(MACHINES)
    resource.register(found.registry)
    resource.take(ClaimTally(states={"active": 1}))
    resource.searched(0.01)
    ArchiveMetrics(found.registry, lambda: ARCHIVE)
    return found


@pytest.fixture
def at_an_executor() -> Metrics:
    """Those of an executor that has run a step."""
    found, executor = Metrics("executor"), ExecutorMetrics()
    executor.register(found.registry)
    executor.step("power_on", "done", 3.0)
    executor.exchange("GET", "2xx", 0.2)
    executor.working = AtWork()
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


def families(*pages: Metrics) -> set[tuple[str, str, frozenset[str]]]:
    """Return the names, kinds and labels of all metrics but those of the Prometheus client."""
    return {
        (family.name, family.type, frozenset(_labels(family)))
        for page in pages
        for family in page.registry.collect()
        if not family.name.startswith("process_")
    }


def _labels(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


def test_every_metric_is_documented_and_every_one_documented_is_there(
    metrics: Metrics, at_an_executor: Metrics
) -> None:
    documented = {
        (name, kind, frozenset(labels.strip().split(", ")) - {""})
        for name, kind, labels in ROW.findall(DOCUMENT.read_text())
    }
    assert families(metrics, at_an_executor) == documented


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


async def test_a_probe_hears_whether_the_service_serves(metrics: Metrics) -> None:
    serves: list[bool] = []
    page = MetricsPage(metrics, "127.0.0.1", 0, serving=lambda: bool(serves))
    port = await page.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(page.serve)
        probe = "GET /ready HTTP/1.1\r\n\r\n"
        assert "503" in (await ask(port, probe))[0]
        serves.append(True)
        assert (await ask(port, probe)) == ("HTTP/1.1 200 OK", "serving\n")
        tasks.cancel_scope.cancel()


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
