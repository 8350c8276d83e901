"""What is wrong with a region, the worst first, each with what to do next. Pure."""

from datetime import datetime
from enum import IntEnum

import msgspec

from mulligan.console.actions import Action, actions_for, release_brake, retry_projection
from mulligan.console.brief import machine_brief, operation_shown
from mulligan.console.condition import Condition
from mulligan.proto.v1 import Machine, MachineState, Projection
from mulligan.quantities import format_bytes, format_span

LONG_S = 600.0
"""Seconds after which an operation without a deadline is worth a look."""
LONG_ROTATION_S = 3600.0
LAGGING_S = 5.0
FILLING = 0.6
"""The part of etcd's quota in use from which on it is time to do something."""
COPY_S = 600.0
"""Seconds without a copy of the log's end after which the archive is worth a look."""
SERVICES = ("iam", "meta", "resource", "control", "log", "projector", "executor", "archiver")


class Severity(IntEnum):
    """How bad a problem is."""

    BROKEN = 0
    FAILING = 1
    WATCH = 2


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong: what, what to do, and an action where the console can do it.

    ``stream`` is the object that it is about, for its history and why-chain.
    """

    severity: Severity
    about: str
    text: str
    next: str
    stream: str = ""
    action: Action | None = None


def problems_of(found: Condition) -> list[Problem]:
    """Return everything that is wrong, the worst first."""
    problems = [
        *_services(found), *_log(found), *_projections(found), *_archive(found),
        *_brakes(found), *_machines(found), *_rotations(found),
    ]  # fmt: skip
    return sorted(problems, key=lambda one: (one.severity, one.about))


def _services(found: Condition) -> list[Problem]:
    present = {one.service for one in found.services}
    away = [
        Problem(
            severity=Severity.BROKEN,
            about=service,
            text=f"no {service} service is registered",
            next=f"start it: `mulligan serve {service}`",
        )
        for service in SERVICES
        if service not in present
    ]
    silent = [
        Problem(
            severity=Severity.BROKEN,
            about=service,
            text=f"{service} does not answer: {why}",
            next="look at its log; it is asked again by itself",
        )
        for service, why in found.silent.items()
    ]
    versions = sorted({one.version for one in found.services if one.version})
    mixed = [
        Problem(
            severity=Severity.WATCH,
            about="versions",
            text=f"services of several versions run: {', '.join(versions)}",
            next="well while an upgrade is under way; finish it",
        )
    ]
    return away + silent + (mixed if len(versions) > 1 else [])


def _log(found: Condition) -> list[Problem]:
    log, problems = found.log, []
    if log is not None and log.failure:
        problems.append(
            Problem(
                severity=Severity.BROKEN,
                about="log",
                text=f"the log halted: {log.failure}",
                next="`mulligan log verify`, then restore",
            )
        )
    if log is not None and log.store_quota_bytes:
        share = log.store_used_bytes / log.store_quota_bytes
        if share > FILLING:
            used, quota = format_bytes(log.store_used_bytes), format_bytes(log.store_quota_bytes)
            problems.append(
                Problem(
                    severity=Severity.FAILING if share > 0.9 else Severity.WATCH,
                    about="etcd",
                    text=f"etcd uses {used} of its quota of {quota}; at the quota it refuses to"
                    " write",
                    next="`mulligan archive status`; lower archive.keep_bytes or raise the quota",
                )
            )
    return problems


def _projections(found: Condition) -> list[Problem]:
    return [problem for one in found.projections if (problem := _projection(one)) is not None]


def _projection(one: Projection) -> Problem | None:
    about = f"projection {one.name}"
    if one.status == "halted":
        return Problem(
            severity=Severity.BROKEN,
            about=about,
            text=f"{one.name} is halted at #{one.seq}: {one.problem}; its reads are stale",
            next="mend the cause and retry it; an upgrade may fold the event",
            action=retry_projection(one.name),
        )
    if one.status == "building":
        return Problem(
            severity=Severity.WATCH,
            about=about,
            text=f"{one.name} is being built as version {one.building_version}, entry"
            f" {one.building_seq:,} of {one.building_target:,}; its reads are stale until then",
            next="wait",
        )
    if one.status == "live" and one.lag_seconds <= LAGGING_S:
        return None
    behind = f"by {one.lag:,} entries, {format_span(one.lag_seconds)}"
    return Problem(
        severity=Severity.WATCH,
        about=about,
        text=f"{one.name} is {one.status} and lags {behind}",
        next="is Postgres busy? see page 5",
    )


def _archive(found: Condition) -> list[Problem]:
    archive = found.archive
    if archive is None or not archive.problem:
        return []
    return [
        Problem(
            severity=Severity.FAILING,
            about="archive",
            text=f"the archiver does not get on: {archive.problem}",
            next="`mulligan archive status`",
        )
    ]


def _brakes(found: Condition) -> list[Problem]:
    problems = []
    for one in found.brakes:
        name = one.domain_name or one.domain
        problems.append(
            Problem(
                severity=Severity.FAILING,
                about=f"brake {name}",
                text=f"the brake is on in {name}: {one.failed} of {one.total} machines failed"
                f" within {format_span(one.window)}",
                next="find out why, then release it",
                stream=f"brake/{one.domain}",
                action=release_brake(one.domain, name),
            )
        )
    return problems


def _machines(found: Condition) -> list[Problem]:
    return [problem for one in found.machines if (problem := _machine(one, found.at)) is not None]


def _machine(one: Machine, now: datetime) -> Problem | None:
    brief = machine_brief(one)
    stream = f"machine/{one.uuid}"
    offered = {action.verb: action for action in actions_for(brief)}
    if one.state is MachineState.FAILED:
        fault = one.fault
        why = f"{fault.message or fault.fault} (step {fault.step})" if fault else "no reason told"
        return Problem(
            severity=Severity.FAILING,
            about=brief.name,
            text=f"{brief.name} failed to {brief.failed or 'finish'}: {why}",
            next="see why, mend it, retry",
            stream=stream,
            action=offered.get("retry"),
        )
    if not is_late(one, now):
        return None
    return Problem(
        severity=Severity.WATCH,
        about=brief.name,
        text=f"{brief.name} has been in {operation_shown(one)} for {format_span(age_s(one, now))}",
        next="see why; abort it if it does not get on",
        stream=stream,
        action=offered.get("abort"),
    )


def is_late(machine: Machine, now: datetime) -> bool:
    """Tell whether a machine's operation is past its deadline, or has run for long without one."""
    operation = machine.operation
    if operation is None:
        return False
    if operation.deadline is not None:
        return now > operation.deadline
    return age_s(machine, now) > LONG_S


def age_s(machine: Machine, now: datetime) -> float:
    """Return for how many seconds a machine has been in its operation."""
    operation = machine.operation
    since = operation.started_at if operation is not None else machine.updated_at
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def _rotations(found: Condition) -> list[Problem]:
    problems = []
    for one in found.rotating:
        since = one.rotation.started_at if one.rotation is not None else None
        seconds = (found.at - since).total_seconds() if since else 0.0
        if seconds > LONG_ROTATION_S:
            problems.append(
                Problem(
                    severity=Severity.WATCH,
                    about=f"login {one.name}",
                    text=f"the rotation of {one.name} has gone on for {format_span(seconds)}",
                    next=f"`mulligan credential show {one.name}`",
                    stream=f"credential/{one.uuid}",
                )
            )
    return problems
