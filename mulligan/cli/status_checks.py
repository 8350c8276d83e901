"""What is wrong with a control plane, by what was seen of it; pure, the worst first."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from mulligan.cli.machine_view import operation_shown
from mulligan.cli.wait import failure_of
from mulligan.quantities import format_bytes, format_span

if TYPE_CHECKING:
    from mulligan.proto.v1 import (
        ArchiveStatus,
        Brake,
        Credential,
        Endpoint,
        Instance,
        LogStatus,
        Machine,
        Projection,
        Quota,
    )

LONG = 600.0
"""Seconds after which an operation without a deadline is worth a look."""
LONG_ROTATION = 3600.0
"""Seconds after which a rotation of a BMC password is worth a look."""
LAGGING = 5.0
"""Seconds of lag that are worth a look."""
FILLING, FULL = 0.6, 0.85
"""The parts of etcd's quota in use from which on it is time, and high time, to do something."""
SKEWED = 2.0
"""Seconds by which clocks may differ."""
SLOW_MS = 500.0
BEHIND = 1000
"""Entries that an instance may be behind the newest that any of them knows."""
SOON, VERY_SOON = timedelta(days=30), timedelta(days=3)
COPY_LATE = 600.0
SERVICES = ("iam", "meta", "resource", "control", "log", "projector", "executor", "archiver")
MOST_MACHINES = 20
"""Machines in trouble that are told one by one."""

Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong: what, about what, and the command or the place that helps."""

    severity: Severity
    subject: str
    what: str
    next: str


@dataclass
class Seen:
    """An instance as it answered, with how far its clock was from ours, in seconds."""

    instance: "Instance"
    skew: float


@dataclass
class Status:
    """Everything that ``status`` prints; ``problems`` say what to do next."""

    region: str = ""
    services: "list[Endpoint]" = field(default_factory=list)
    instances: list[Seen] = field(default_factory=list)
    log: "LogStatus | None" = None
    archive: "ArchiveStatus | None" = None
    projections: "list[Projection]" = field(default_factory=list)
    machines: "list[Machine]" = field(default_factory=list)
    brakes: "list[Brake]" = field(default_factory=list)
    rotating: "list[Credential]" = field(default_factory=list)
    quotas: "list[Quota]" = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def critical(subject: str, what: str, next: str) -> Problem:
    """Return a problem that stops something."""
    return Problem("critical", subject, what, next)


def warning(subject: str, what: str, next: str) -> Problem:
    """Return a problem that will, or might."""
    return Problem("warning", subject, what, next)


def problems_of(found: Status, now: datetime) -> list[Problem]:
    """Return what is wrong beside what was noticed in asking, the worst first."""
    problems = [
        *found.problems,
        *_missing(found),
        *_log_problems(found),
        *store_problems(found),
        *_stores(found),
        *_certificates(found, now),
        *_differences(found),
        *_projection_problems(found),
        *_brake_problems(found),
        *_rotation_problems(found, now),
        *_machine_problems(found, now),
        *_quota_problems(found),
    ]
    return sorted(problems, key=lambda one: one.severity != "critical")


def _missing(found: Status) -> Iterator[Problem]:
    present = {endpoint.service for endpoint in found.services}
    for service in SERVICES:
        if service not in present:
            what = f"no {service} service is registered"
            yield critical(service, what, f"mulligan serve {service}")


def _log_problems(found: Status) -> Iterator[Problem]:
    halted = {
        one.instance.instance: one.instance.log_failure
        for one in found.instances
        if one.instance.log_failure
    }
    if found.log is not None and found.log.failure and not halted:
        halted["log"] = found.log.failure
    for instance, why in halted.items():
        yield critical(instance, f"the log halted: {why}", "mulligan log verify")
    newest = max((one.instance.applied for one in found.instances), default=0)
    for one in found.instances:
        if newest - one.instance.applied > BEHIND:
            what = f"it is {newest - one.instance.applied} entries behind the newest"
            yield warning(one.instance.instance, what, "see its log; start it again if it stays")


def store_problems(found: Status) -> list[Problem]:
    """Return what is wrong with etcd's space and the archive."""
    problems = []
    log, archive = found.log, found.archive
    if log is not None and log.store_quota_bytes:
        share = log.store_used_bytes / log.store_quota_bytes
        if share > FILLING:
            make = critical if share > FULL else warning
            what = (
                f"etcd uses {format_bytes(log.store_used_bytes)} of its quota of"
                f" {format_bytes(log.store_quota_bytes)}; at the quota it refuses to write"
            )
            then = "mulligan archive status; lower archive.keep_bytes, or raise etcd's quota"
            problems.append(make("etcd", what, then))
    if archive is not None and archive.problem:
        what = f"the archiver does not get on: {archive.problem}"
        problems.append(warning("archive", what, "mulligan archive status"))
    return problems


def _stores(found: Status) -> Iterator[Problem]:
    """Yield what etcd and Postgres do not do, once each, with who says so."""
    for store in ("etcd", "postgres"):
        away: Counter[str] = Counter()
        slow: list[str] = []
        for one in found.instances:
            said = getattr(one.instance, f"{store}_problem")
            if said:
                away[said] += 1
            elif getattr(one.instance, f"{store}_ms") > SLOW_MS:
                slow.append(one.instance.service)
        for said, count in away.most_common(1):
            what = f"{count} of {len(found.instances)} instances do not get an answer: {said}"
            yield critical(store, what, f"see whether {store} runs, and its log")
        if slow:
            what = f"it takes more than {SLOW_MS:g} ms to answer {', '.join(slow)}"
            yield warning(store, what, f"see the disk and the load of {store}'s host")
    alarms = {alarm for one in found.instances for alarm in one.instance.etcd_alarms}
    for alarm in sorted(alarms):
        then = "docs/how-to/keep-the-log-small.md" if alarm == "NOSPACE" else "etcdctl alarm list"
        yield critical("etcd", f"the alarm {alarm} is on: it refuses to write", then)
    asked = [one for one in found.instances if not one.instance.etcd_problem]
    if asked and not any(one.instance.etcd_leader for one in asked):
        yield critical("etcd", "it has no leader", "etcdctl endpoint status --cluster")


def _certificates(found: Status, now: datetime) -> Iterator[Problem]:
    first: dict[str, tuple[datetime, str]] = {}
    for one in found.instances:
        for name, ends in (
            ("certificate", one.instance.certificate_ends),
            ("CA", one.instance.ca_ends),
        ):
            if ends is not None and (name not in first or ends < first[name][0]):
                first[name] = (ends, one.instance.instance)
    for name, (ends, instance) in first.items():
        if ends - now > SOON:
            continue
        make = critical if ends - now < VERY_SOON else warning
        left = format_span(max(0.0, (ends - now).total_seconds()))
        what = f"the {name} ends in {left}" if ends > now else f"the {name} has ended"
        yield make(instance, what, "mulligan certificate renew, on its host")


def _differences(found: Status) -> Iterator[Problem]:
    """Yield where instances differ that should not."""
    versions = Counter(endpoint.version for endpoint in found.services)
    if len(versions) > 1:
        shown = ", ".join(f"{count} at {version}" for version, count in sorted(versions.items()))
        what = f"instances run different versions: {shown}"
        yield warning("versions", what, "finish the upgrade: start the older ones again")
    for attribute, what, then in (
        ("config_digest", "their configurations differ", "compare config.toml of their hosts"),
        ("master_key", "their newest master keys differ", "mulligan iam reseal, after all have it"),
    ):
        groups: dict[str, list[str]] = {}
        for one in found.instances:
            groups.setdefault(getattr(one.instance, attribute), []).append(one.instance.instance)
        if len(groups) > 1:
            smallest: list[str] = min(groups.values(), key=lambda names: len(names))
            odd = sorted(smallest)
            yield warning(odd[0], f"{', '.join(odd)} and others: {what}", then)
    skews = [one.skew for one in found.instances]
    if skews and max(skews) - min(skews) > SKEWED:
        fast = max(found.instances, key=lambda one: abs(one.skew))
        what = f"clocks differ by {format_span(max(skews) - min(skews))}"
        yield warning(fast.instance.instance, what, "see to NTP on its host")


def _projection_problems(found: Status) -> Iterator[Problem]:
    for one in found.projections:
        if one.status == "building":
            what = (
                f"it is being built as version {one.building_version}, entry "
                f"{one.building_seq} of {one.building_target}; its reads are stale until then"
            )
            yield warning(one.name, what, f"mulligan projection show {one.name}")
        elif one.status != "live":
            what = f"it is {one.status} at {one.seq}: {one.problem}; its reads are stale"
            make = critical if one.status == "halted" else warning
            yield make(one.name, what, f"mulligan projection show {one.name}")
        elif one.lag_seconds > LAGGING:
            what = f"it lags by {format_span(one.lag_seconds)}"
            yield warning(one.name, what, f"mulligan projection show {one.name}")


def _brake_problems(found: Status) -> Iterator[Problem]:
    for brake in found.brakes:
        domain = brake.domain_name or brake.domain
        what = (
            f"the brake is on: {brake.failed} of {brake.total} machines failed within "
            f"{format_span(brake.window)}"
        )
        yield critical(domain, what, f"find out why, then mulligan brake release {domain}")


def _rotation_problems(found: Status, now: datetime) -> Iterator[Problem]:
    for login in found.rotating:
        since = login.rotation.started_at if login.rotation is not None else None
        if since is not None and (now - since).total_seconds() > LONG_ROTATION:
            what = f"its rotation has gone on for {format_span((now - since).total_seconds())}"
            yield warning(login.name, what, f"mulligan credential show {login.name}")


def _machine_problems(found: Status, now: datetime) -> Iterator[Problem]:
    from mulligan.proto.v1 import MachineState

    for machine in found.machines[:MOST_MACHINES]:
        called = machine.name or machine.uuid
        if machine.state is MachineState.FAILED:
            what, _, then = failure_of(machine, called).rpartition("; see ")
            yield warning(called, what, then.replace("`", ""))
        else:
            since = format_span(age_of(machine, now))
            what = f"{called} has been in {operation_shown(machine)} for {since}"
            yield warning(called, what, f"mulligan machine why {called}")
    more = len(found.machines) - MOST_MACHINES
    if more > 0:
        yield warning("machines", f"{more} more are in trouble", "mulligan machine list")


def _quota_problems(found: Status) -> Iterator[Problem]:
    for quota in found.quotas:
        full = [one.resource_class for one in quota.use if 0 <= one.limit <= one.used]
        if full:
            called = quota.project_name or quota.project
            what = f"project {called} has used up its quota of {', '.join(full)}"
            yield warning(called, what, f"mulligan quota show {called}")


def age_of(machine: "Machine", now: datetime) -> float:
    """Return for how many seconds a machine has been failed or in its operation."""
    since = machine.updated_at
    if machine.fault is not None and machine.fault.since is not None:
        since = machine.fault.since
    if machine.operation is not None and machine.operation.started_at is not None:
        since = machine.operation.started_at
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def is_late(machine: "Machine", now: datetime) -> bool:
    """Tell whether a machine's operation is past its deadline, or has run for long without one."""
    operation = machine.operation
    if operation is None:
        return False
    if operation.deadline is not None:
        return now > operation.deadline
    return age_of(machine, now) > LONG


def exit_code(problems: Sequence[Problem]) -> int:
    """Return what ``--exit-code`` makes of problems: 0 none, 10 warnings, 11 something critical."""
    if not problems:
        return 0
    return 11 if any(one.severity == "critical" for one in problems) else 10
