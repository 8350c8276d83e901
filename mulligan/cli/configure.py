"""``mulligan configure``: settings of running services, changed for good or for a while."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb
from mulligan.diagnosis.checks import SERVICES
from mulligan.errors import InvalidArgument, MulliganError, NotFound
from mulligan.quantities import format_time, parse_span

if TYPE_CHECKING:
    from mulligan.proto.v1 import ConfigureRequest, ConfigureResponse, Endpoint

app = typer.Typer(rich_markup_mode=None)

ALL = "all"


@dataclass(frozen=True)
class Setting:
    """What one instance goes by now, or why it could not be asked."""

    instance: str
    held: "ConfigureResponse | None"
    problem: str = ""


SETTINGS = (
    Column("INSTANCE", lambda one: one.instance),
    Column("LOG LEVEL", lambda one: _shown(one, "log_level")),
    Column("LOGGERS", lambda one: _loggers(one)),
    Column("RATE", lambda one: _shown(one, "rate")),
    Column("BURST", lambda one: _shown(one, "burst")),
    Column("IN FLIGHT", lambda one: _shown(one, "in_flight")),
    Column("TRACES", lambda one: _traces(one)),
    Column("UNTIL", lambda one: _until(one)),
    Column("PROBLEM", lambda one: one.problem),
)


@verb(app, "configure")
async def configure(
    session: Session,
    service: Annotated[str, typer.Argument(help="A service, an instance, or all.")] = ALL,
    log_level: Annotated[
        str, typer.Option("--log-level", help="debug, info, warning or error.")
    ] = "",
    logger: Annotated[
        str, typer.Option("--logger", help="Of this logger only, such as mulligan.redfish.")
    ] = "",
    rate: Annotated[
        float, typer.Option("--rate", help="Calls of one account each second, on average.")
    ] = 0.0,
    burst: Annotated[int, typer.Option("--burst", help="Calls of one account at once.")] = 0,
    in_flight: Annotated[
        int, typer.Option("--in-flight", help="Calls in work in one process.")
    ] = 0,
    trace_sample: Annotated[
        float | None, typer.Option("--trace-sample", help="Share of new traces kept, 0 to 1.")
    ] = None,
    span: Annotated[
        str, typer.Option("--for", help="Put it back after so long: 10m, 2h.", metavar="SPAN")
    ] = "",
) -> None:
    """Show what running services go by, or change it, at every instance at once.

    Without options it only shows. A change lasts until the process ends, or for as long as --for
    says; the configuration file stays as it is.
    """
    import anyio

    from mulligan.proto.v1 import ConfigureRequest

    request = ConfigureRequest(
        log_level=log_level,
        logger=logger,
        rate=rate,
        burst=burst,
        in_flight=in_flight,
        trace_sample=trace_sample,
        revert_after=parse_span(span, "--for").total_seconds() if span else 0.0,
    )
    chosen = instances_of(await session.client.endpoints(), service)
    held: dict[str, Setting] = {}
    failed: list[MulliganError] = []

    async def one(endpoint: "Endpoint") -> None:
        try:
            answer = await _configured(session, endpoint, request)
            held[endpoint.instance] = Setting(endpoint.instance, answer)
        except MulliganError as error:
            failed.append(error)
            held[endpoint.instance] = Setting(endpoint.instance, None, error.message)

    async with anyio.create_task_group() as tasks:
        for endpoint in chosen:
            tasks.start_soon(one, endpoint)
    if failed and len(failed) == len(chosen):
        raise failed[0]
    session.out.rows([held[endpoint.instance] for endpoint in chosen], SETTINGS)
    if failed:
        raise failed[0]


def instances_of(endpoints: "Sequence[Endpoint]", wanted: str) -> "list[Endpoint]":
    """Return the instances that a word means; raise InvalidArgument for one that means none."""
    found = [one for one in endpoints if wanted in (ALL, one.service, one.instance)]
    if found:
        return found
    if wanted in SERVICES:
        raise NotFound("instance", f"no {wanted} service is registered; `mulligan status`")
    names = f"{ALL}, {', '.join(SERVICES)}"
    raise InvalidArgument("service", f"{wanted!r} is none of {names}, nor an instance of them")


async def _configured(
    session: Session, endpoint: "Endpoint", request: "ConfigureRequest"
) -> "ConfigureResponse":
    view = session.client.instance(endpoint.address)
    stub = getattr(view, endpoint.service)
    answer: ConfigureResponse = await getattr(stub, f"{endpoint.service}_configure")(request)
    return answer


def _shown(one: Setting, name: str) -> str:
    value = getattr(one.held, name) if one.held is not None else ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _loggers(one: Setting) -> str:
    return ", ".join(f"{k}={v}" for k, v in one.held.loggers.items()) if one.held else ""


def _traces(one: Setting) -> str:
    if one.held is None:
        return ""
    return f"{one.held.trace_sample:g}" if one.held.traces else "off"


def _until(one: Setting) -> str:
    return format_time(one.held.reverts_at) if one.held and one.held.reverts_at else ""
