"""What is wrong with a region, by what was found of it; pure, the worst first."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mulligan.diagnosis.backups import backup_problems
from mulligan.diagnosis.etcd_members import member_problems
from mulligan.diagnosis.fleet_checks import MOST_MACHINES, fleet_problems
from mulligan.diagnosis.found import Status
from mulligan.diagnosis.problem import Problem, critical, warning
from mulligan.quantities import format_bytes, format_span

if TYPE_CHECKING:
    from mulligan.proto.v1 import Projection

LAGGING = 5.0
"""Seconds of lag that are worth a look."""
FILLING, FULL = 0.6, 0.85
"""The parts of etcd's quota in use from which on it is time, and high time, to do something."""
SKEWED = 2.0
"""Seconds by which clocks may differ."""
SLOW_MS = 500.0
MANY = 4
"""Read models that lag for one reason are told as one problem from that many on."""
BEHIND = 1000
"""Entries that an instance may be behind the newest that any of them knows."""
SOON, VERY_SOON = timedelta(days=30), timedelta(days=3)
_MAKE_ROOM = (
    "make room, then etcdctl compact, defrag and alarm disarm:"
    " docs/durability.md#when-etcd-has-no-room"
)
_GO_ON = (
    "mend what it says, then mulligan projection retry {0}; where rows were damaged, mulligan"
    " rebuild {0}; mulligan projection show {0} tells more"
)
_LISTING = ("meta", "resource", "control")
"""The services that answer from read models what is asked of them here."""
SERVICES = ("iam", "meta", "resource", "control", "log", "projector", "executor", "archiver")


def problems_of(
    found: Status, now: datetime, *, most_machines: int = MOST_MACHINES
) -> list[Problem]:
    """Return what is wrong, the worst first; at most so many machines are told one by one."""
    problems = [
        *_unknown(found),
        *_missing(found),
        *_silent(found),
        *_log_problems(found),
        *store_problems(found),
        *_stores(found),
        *member_problems(found),
        *_certificates(found, now),
        *_differences(found),
        *_projection_problems(found),
        *fleet_problems(found, now, most_machines),
        *_cut_off(found),
    ]
    return sorted(problems, key=lambda one: one.severity != "critical")


def _unknown(found: Status) -> Iterator[Problem]:
    if found.unknown:
        what = (
            f"nobody can log in: {found.unknown}; only what needs no login was looked at, so there"
            " may be more"
        )
        yield critical("iam", what, "see its log; mulligan serve iam; then look again")


def _missing(found: Status) -> Iterator[Problem]:
    present = {endpoint.service for endpoint in found.services}
    for service in SERVICES:
        if service not in present:
            what = f"no {service} service is registered"
            then = f"see whether its process runs or hangs, and its log; mulligan serve {service}"
            yield critical(service, what, then)


def _silent(found: Status) -> Iterator[Problem]:
    """Yield who does not answer; a service only where its instances do, and their stores."""
    left = {one.service for one in found.services if one.instance not in found.away}
    stores_away = {
        one.instance.service
        for one in found.instances
        if one.instance.etcd_problem or one.instance.postgres_problem
    }
    waiting = _waiting_for_read_models(found)
    for service, why in found.silent.items():
        if service in left - stores_away - waiting:
            what = f"it does not answer: {why}"
            yield critical(service, what, "see its log; start it again if it hangs")
    for endpoint in found.services:
        why = found.away.get(endpoint.instance, "")
        if why:
            what = f"{endpoint.address} does not answer: {why}"
            then = f"see its log; mulligan serve {endpoint.service}"
            yield critical(endpoint.instance, what, then)


def _waiting_for_read_models(found: Status) -> set[str]:
    """Return the services that answer, and whose lists may wait for a read model that is late."""
    if all(one.status == "live" and not _lags(one) for one in found.projections):
        return set()
    return {one.instance.service for one in found.instances} & set(_LISTING)


def _log_problems(found: Status) -> Iterator[Problem]:
    halted = {
        one.instance.instance: one.instance.log_failure
        for one in found.instances
        if one.instance.log_failure
    } | found.halted
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
    """Return what is wrong with etcd's space, the archive and backups."""
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
    if archive is not None:
        if archive.problem:
            what = f"the archiver does not get on: {archive.problem}"
            problems.append(warning("archive", what, "mulligan archive status"))
        problems += backup_problems(archive, found.at)
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
        then = _MAKE_ROOM if alarm == "NOSPACE" else "etcdctl alarm list"
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
        (
            "master_key",
            "their newest master keys differ",
            "mulligan iam secrets rekey, after all have it",
        ),
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
        then, stream = f"mulligan projection show {one.name}", f"projection/{one.name}"
        if one.status == "building":
            what = (
                f"it is being built as version {one.building_version}, entry "
                f"{one.building_seq} of {one.building_target}; its reads are stale until then"
            )
            yield warning(one.name, what, then, stream)
        elif one.status == "halted":
            what = f"it halted after entry {one.seq}: {one.problem}; its reads are of then"
            yield critical(one.name, what, _GO_ON.format(one.name), stream)
        elif one.status != "live":
            what = f"it is {one.status} at {one.seq}: {one.problem}; its reads are stale"
            yield warning(one.name, what, then, stream)
    yield from _lagging([one for one in found.projections if _lags(one)])


def _lags(one: "Projection") -> bool:
    return one.status == "live" and one.lag_seconds > LAGGING


def _lagging(late: "Sequence[Projection]") -> Iterator[Problem]:
    """Yield which read models are late, as one problem where many are for the same reason."""
    if len(late) >= MANY and len({one.problem for one in late}) == 1:
        longest = max(late, key=lambda one: one.lag_seconds)
        what = f"{len(late)} of them lag, {_lag_of(longest)}"
        yield warning("read models", what, "mulligan projection list; see the projector's log")
        return
    for one in late:
        then = f"mulligan projection show {one.name}"
        yield warning(one.name, f"it lags {_lag_of(one)}", then, f"projection/{one.name}")


def _lag_of(one: "Projection") -> str:
    return f"by {format_span(one.lag_seconds)}" + (f": {one.problem}" if one.problem else "")


def _cut_off(found: Status) -> Iterator[Problem]:
    for region, addresses in found.cut_off.items():
        what = f"region {region} does not answer at {', '.join(addresses)}"
        yield warning(region, what, f"mulligan region list; see {region}")
