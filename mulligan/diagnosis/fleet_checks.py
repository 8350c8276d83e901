"""What is wrong with machines, and with what they stand under. Pure."""

from collections.abc import Iterator
from datetime import datetime

from mulligan.diagnosis.bmcs import bmc_problems, next_step
from mulligan.diagnosis.found import Status
from mulligan.diagnosis.machines import age_of, operation_shown
from mulligan.diagnosis.problem import Problem, critical, warning
from mulligan.quantities import format_span
from mulligan.wording import failure_shown

LONG_ROTATION = 3600.0
"""Seconds after which a rotation of a BMC password is worth a look."""
MOST_MACHINES = 20
"""Machines in trouble that are told one by one."""


def fleet_problems(found: Status, now: datetime, most_machines: int) -> list[Problem]:
    """Return what is wrong with brakes, rotations, machines, their BMCs, and quotas."""
    return [
        *_brake_problems(found),
        *_rotation_problems(found, now),
        *_machine_problems(found, now, most_machines),
        *bmc_problems(found),
        *_quota_problems(found),
    ]


def _brake_problems(found: Status) -> Iterator[Problem]:
    for brake in found.brakes:
        domain = brake.domain_name or brake.domain
        what = (
            f"the brake is on: {brake.failed} of {brake.total} machines failed within "
            f"{format_span(brake.window)}"
        )
        then = f"find out why, then mulligan brake release {domain} --reason WHY"
        yield critical(domain, what, then, f"brake/{brake.domain}")


def _rotation_problems(found: Status, now: datetime) -> Iterator[Problem]:
    for login in found.rotating:
        since = login.rotation.started_at if login.rotation is not None else None
        if since is not None and (now - since).total_seconds() > LONG_ROTATION:
            what = f"its rotation has gone on for {format_span((now - since).total_seconds())}"
            then = f"mulligan credential show {login.name}"
            yield warning(login.name, what, then, f"credential/{login.uuid}")


def _machine_problems(found: Status, now: datetime, most: int) -> Iterator[Problem]:
    from mulligan.proto.v1 import MachineState

    for machine in found.machines[:most]:
        called, stream = machine.name or machine.uuid, f"machine/{machine.uuid}"
        if machine.state is MachineState.FAILED:
            yield warning(called, failure_shown(machine, called), next_step(machine), stream)
        else:
            since = format_span(age_of(machine, now))
            what = f"{called} has been in {operation_shown(machine)} for {since}"
            yield warning(called, what, f"mulligan machine why {called}", stream)
    more = max(0, len(found.machines) - most)
    if more or found.more_machines:
        what = "more may be in trouble than could be looked at"
        if more:
            what = f"{'at least ' if found.more_machines else ''}{more} more are in trouble"
        yield warning("machines", what, "mulligan machine list")


def _quota_problems(found: Status) -> Iterator[Problem]:
    for quota in found.quotas:
        full = [one.resource_class for one in quota.use if 0 <= one.limit <= one.used]
        if full:
            called = quota.project_name or quota.project
            what = f"project {called} has used up its quota of {', '.join(full)}"
            yield warning(called, what, f"mulligan quota show {called}")
