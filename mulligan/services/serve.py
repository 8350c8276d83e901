"""Runs one service as a process: `mulligan serve NAME`.

It listens at once and tells the truth about its health; it serves when what it needs is there; on
SIGTERM it takes itself out of the catalog, finishes what is in flight, and ends.
"""

import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from anyio.abc import TaskGroup
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.events import RecvMessage, RecvRequest, listen
from grpclib.health.check import ServiceStatus
from grpclib.health.service import OVERALL, Health
from grpclib.reflection.service import ServerReflection

from mulligan.config import Config, insecure_links
from mulligan.proto.descriptors import descriptor_set
from mulligan.services import work
from mulligan.services.archive.service import Archiver
from mulligan.services.bootstrap import bootstrap
from mulligan.services.control.service import Control
from mulligan.services.executor import Executor
from mulligan.services.gate.call import Gate
from mulligan.services.gate.caller import WireCodec
from mulligan.services.gate.http2 import EdgeServer
from mulligan.services.iam.service import Iam
from mulligan.services.iam.signing import SigningKeys
from mulligan.services.log.denials import Denials
from mulligan.services.log.service import Log
from mulligan.services.meta.catalog import Catalog
from mulligan.services.meta.service import Meta
from mulligan.services.metrics.calls import CallMetrics, CallsNow
from mulligan.services.metrics.executor import ExecutorMetrics
from mulligan.services.metrics.fleet import ControlMetrics, ResourceMetrics
from mulligan.services.metrics.process import ProcessMetrics
from mulligan.services.metrics.registry import Metrics, MetricsPage
from mulligan.services.notify import ServiceManager
from mulligan.services.projector import Projector
from mulligan.services.resource.service import Resource
from mulligan.services.runtime import Parts, Runtime, master_keys
from mulligan.tls_live import LiveContext

log = logging.getLogger(__name__)

SERVICES = ("iam", "meta", "resource", "control", "log", "projector", "executor", "archiver")
DRAIN_S = 10.0
_HEALTH_S = 0.1

Job = Callable[[Parts, TaskGroup], Awaitable[work.Drain | None]]
"""What a service does besides answering: starts its tasks in the group, returns how to drain."""


class Made(NamedTuple):
    """A service as it is made: what answers, what it does besides, and whether it is healthy.

    ``measure`` adds its own metrics to those of the process.
    """

    service: Any
    job: Job
    healthy: Callable[[], bool] = lambda: True
    measure: Callable[[Metrics], None] = lambda metrics: None


def _iam(runtime: Runtime) -> Made:
    signing = SigningKeys(runtime)
    bootstrapped = anyio.Event()

    async def job(parts: Parts, tasks: TaskGroup) -> None:
        secret_file = Path(runtime.config.state_dir) / "admin.secret"
        tasks.start_soon(signing.prepare, parts)
        tasks.start_soon(bootstrap, runtime, parts, secret_file, bootstrapped)

    def healthy() -> bool:
        return signing.found and bootstrapped.is_set()

    return Made(Iam(runtime, signing, bootstrapped.is_set), job, healthy)


def _projector(runtime: Runtime) -> Made:
    service = Projector(runtime)

    async def job(parts: Parts, tasks: TaskGroup) -> None:
        tasks.start_soon(service.work, parts)

    def healthy() -> bool:
        return service.worker is not None and service.worker.ready

    return Made(service, job, healthy, service.measure)


def _log(runtime: Runtime) -> Made:
    service = Log(runtime)
    return Made(service, service.work)


def _archiver(runtime: Runtime) -> Made:
    service = Archiver(runtime)
    return Made(service, service.work, measure=service.measure)


def _resource(runtime: Runtime) -> Made:
    service = Resource(runtime)
    found = service.metrics
    return Made(service, partial(work.resource, runtime, found), measure=_registering(found))


def _control(runtime: Runtime) -> Made:
    found = ControlMetrics()
    job = partial(work.control, runtime, found)
    return Made(Control(runtime), job, measure=_registering(found))


def _executor(runtime: Runtime) -> Made:
    found = ExecutorMetrics()
    job = partial(work.executor, runtime, found)
    return Made(Executor(runtime), job, measure=_registering(found))


def _registering(
    found: ResourceMetrics | ControlMetrics | ExecutorMetrics,
) -> Callable[[Metrics], None]:
    return lambda metrics: found.register(metrics.registry)


async def _nothing(parts: Parts, tasks: TaskGroup) -> None:
    """Do nothing besides answering."""


_MAKERS: Mapping[str, Callable[[Runtime], Made]] = {
    "iam": _iam,
    "meta": lambda runtime: Made(Meta(runtime), _nothing),
    "resource": _resource,
    "control": _control,
    "log": _log,
    "projector": _projector,
    "executor": _executor,
    "archiver": _archiver,
}


async def serve(name: str, config: Config) -> None:
    """Serve until SIGTERM or SIGINT.

    Raise OSError when the address is taken, BadConfiguration when the master key cannot be used.
    """
    master_keys(config)  # refused at once, not when it is needed
    for link in insecure_links(config):
        log.warning("a link is in plain text", extra={"link": link})
    address = getattr(config.listen, name)
    runtime = Runtime(config, name, str(address))
    made = _MAKERS[name](runtime)
    health = ServiceStatus()
    health.set(False)
    server = _server([made.service, Catalog(runtime)], health, config.limits.message_bytes)
    denials = Denials(name)
    gate = Gate(runtime, denials, server.streams)
    runtime.in_flight = lambda: gate.in_flight
    listen(server, RecvRequest, gate.on_request)
    listen(server, RecvMessage, gate.on_message)
    tls = _tls(config)
    await server.listen(address.host, address.port, tls.context if tls is not None else None)
    observing = Observing(runtime, gate)
    asked, drained, ended = anyio.Event(), anyio.Event(), anyio.Event()

    def serving() -> bool:
        return runtime.ready and made.healthy() and not asked.is_set()

    page = await open_metrics(name, config, made, observing, serving)
    async with anyio.create_task_group() as tasks:
        if page is not None:
            tasks.start_soon(page.serve)
        tasks.start_soon(_on_signal, asked)
        if tls is not None:
            tasks.start_soon(tls.keep_current)
        tasks.start_soon(_tell_health, runtime, serving, health, asked)
        job = observing.besides(made.job)
        tasks.start_soon(_run, runtime, job, denials, drained, ended)
        await asked.wait()
        log.info("draining", extra={"service": name, "in_flight": gate.in_flight})
        await runtime.leave_catalog()
        await gate.drain(DRAIN_S)
        drained.set()
        if runtime.ready:
            with anyio.move_on_after(DRAIN_S):
                await ended.wait()
        server.close()
        with anyio.move_on_after(2):
            await server.wait_closed()
        tasks.cancel_scope.cancel()
    log.info("stopped", extra={"service": name})


class Observing:
    """The metrics that every service has, if any are wanted."""

    def __init__(self, runtime: Runtime, gate: Gate) -> None:
        self._rt = runtime
        self._gate = gate
        self._process: ProcessMetrics | None = None

    def measure(self, metrics: Metrics) -> None:
        """Have calls, commits and what the process stands on counted from now on."""
        gate, limits = self._gate, self._rt.limits
        gate.observer = CallMetrics(metrics.registry)
        metrics.registry.register(CallsNow(lambda: gate.in_flight, lambda: limits.streams_open))
        self._process = ProcessMetrics(metrics.registry, self._rt)

    def besides(self, job: Job) -> Job:
        """Return a job that watches what the process stands on, too."""
        process = self._process
        if process is None:
            return job

        async def both(parts: Parts, tasks: TaskGroup) -> work.Drain | None:
            parts.commands.on_commit = process.commit
            tasks.start_soon(process.run, parts)
            return await job(parts, tasks)

        return both


async def open_metrics(
    name: str,
    config: Config,
    made: Made,
    observing: Observing | None = None,
    serving: Callable[[], bool] = lambda: True,
) -> MetricsPage | None:
    """Open the page that Prometheus reads, if there is to be one."""
    if not config.metrics.port_offset:
        return None
    metrics = Metrics(name)
    made.measure(metrics)
    if observing is not None:
        observing.measure(metrics)
    address = getattr(config.listen, name)
    port = address.port + config.metrics.port_offset
    page = MetricsPage(metrics, address.host, port, serving=serving)
    await page.open()
    return page


async def _run(
    runtime: Runtime, job: Job, denials: Denials, drained: anyio.Event, ended: anyio.Event
) -> None:
    async def body(parts: Parts) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(denials.run, parts.commands)
            drain = await job(parts, tasks)
            await drained.wait()
            await denials.flush(parts.commands)
            if drain is not None:
                await drain(DRAIN_S)
            tasks.cancel_scope.cancel()

    await runtime.run(body)
    ended.set()


def _server(services: list[Any], health: ServiceStatus, message_bytes: int) -> EdgeServer:
    checks = {service: [health] for service in services}
    checked = Health({**checks, OVERALL: [health]})
    extended = ServerReflection.extend([*services, checked], pool=_pool())
    details = ProtoStatusDetailsCodec()
    return EdgeServer(
        extended, message_bytes=message_bytes, codec=WireCodec(), status_details_codec=details
    )


def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    files = FileDescriptorSet.FromString(descriptor_set())
    for file in files.file:
        pool.Add(file)
    return pool


def _tls(config: Config) -> LiveContext | None:
    return LiveContext(work.tls_files(config)) if config.tls.enabled else None


async def _on_signal(stop: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stop.set()


async def _tell_health(
    runtime: Runtime, serving: Callable[[], bool], health: ServiceStatus, asked: anyio.Event
) -> None:
    manager = ServiceManager()
    while True:
        serves = serving()
        health.set(serves)
        if asked.is_set():
            manager.stopping()
        elif serves:
            manager.serving()
        else:
            manager.waiting("its part in the region" if runtime.ready else runtime.waiting_for)
        await anyio.sleep(_HEALTH_S)
