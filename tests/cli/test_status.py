"""What ``mulligan status`` finds wrong, how bad it is, and what it says to do."""

from datetime import UTC, datetime, timedelta

from mulligan.cli.status import archive_shown
from mulligan.cli.status_checks import (
    Problem,
    Seen,
    Status,
    critical,
    exit_code,
    problems_of,
    store_problems,
    warning,
)
from mulligan.proto.v1 import ArchiveStatus, Endpoint, Instance, LogStatus, Quota, QuotaUse

GIB = 2**30


def test_an_etcd_that_fills_up_is_a_problem_with_what_to_do() -> None:
    def problems(used: int) -> list[Problem]:
        return store_problems(Status(log=LogStatus(store_used_bytes=used, store_quota_bytes=GIB)))

    assert problems(GIB // 2) == []
    (problem,) = problems(GIB * 7 // 10)
    assert "quota" in problem.what
    assert "archive.keep_bytes" in problem.next


def test_who_may_not_see_the_sizes_is_told_of_no_problem() -> None:
    assert store_problems(Status(log=LogStatus())) == []


def test_an_archiver_that_is_stuck_is_a_problem() -> None:
    (problem,) = store_problems(Status(archive=ArchiveStatus(problem="no such bucket")))
    assert "no such bucket" in problem.what
    assert problem.next == "mulligan archive status"


def test_the_archive_is_told_in_one_line() -> None:
    shown = archive_shown(ArchiveStatus(sealed=5, copied=7, store_used_bytes=GIB))
    assert shown.startswith("sealed up to 5, copied up to 7; etcd uses 1")


NOW = datetime(2027, 1, 31, 8, tzinfo=UTC)


def instance(service: str, skew: float = 0.0, **said: object) -> Seen:
    """Return an instance that is well but for what it says."""
    well: dict[str, object] = {
        "service": service,
        "instance": f"{service}-1",
        "config_digest": "c",
        "master_key": "k",
        "etcd_leader": "1",
        "applied": 5000,
    }
    return Seen(Instance(**(well | said)), skew)  # type: ignore[arg-type]


def found_in(*instances: Seen) -> list[Problem]:
    """Return what is wrong with these instances, where every service is registered."""
    services = [
        Endpoint(service=name, instance=name, version="1")
        for name in (
            "iam", "meta", "resource", "control", "log", "projector", "executor", "archiver",
        )
    ]  # fmt: skip
    return problems_of(Status(services=services, instances=list(instances)), NOW)


def test_instances_that_are_alike_are_no_problem() -> None:
    assert found_in(instance("iam"), instance("meta", 0.1)) == []


def test_what_stops_the_control_plane_comes_first() -> None:
    slow = instance("meta", etcd_ms=900.0)
    away = instance("iam", postgres_problem="Postgres is away")
    first, second = found_in(slow, away)
    assert (first.severity, first.subject) == ("critical", "postgres")
    assert (second.severity, second.subject) == ("warning", "etcd")


def test_a_certificate_close_to_its_end_is_told_in_time() -> None:
    (soon,) = found_in(instance("iam", certificate_ends=NOW + timedelta(days=20)))
    assert soon.severity == "warning"
    assert "certificate renew" in soon.next
    (now,) = found_in(instance("iam", certificate_ends=NOW - timedelta(days=1)))
    assert (now.severity, "has ended" in now.what) == ("critical", True)


def test_instances_that_differ_are_named() -> None:
    (config,) = found_in(instance("iam"), instance("meta"), instance("log", config_digest="d"))
    assert config.subject == "log-1"
    (clock,) = found_in(instance("iam"), instance("meta", skew=-40.0))
    assert (clock.subject, "40s" in clock.what) == ("meta-1", True)
    (behind,) = found_in(instance("iam"), instance("meta", applied=1))
    assert behind.subject == "meta-1"


def test_etcd_without_a_leader_or_with_an_alarm_is_critical() -> None:
    (leaderless,) = found_in(instance("iam", etcd_leader=""))
    assert leaderless.severity == "critical"
    (alarm,) = found_in(instance("iam", etcd_alarms=["NOSPACE"]))
    assert "keep-the-log-small" in alarm.next


def test_a_halted_log_is_critical() -> None:
    (halted,) = found_in(instance("iam", log_failure="the chain is broken"))
    assert (halted.severity, halted.next) == ("critical", "mulligan log verify")


def test_a_quota_that_is_used_up_is_told() -> None:
    use = [QuotaUse(resource_class="node", used=4, limit=4), QuotaUse(used=9, limit=-1)]
    full = Status(quotas=[Quota(project_name="red", use=use)])
    assert any(one.subject == "red" for one in problems_of(full, NOW))


def test_the_exit_code_tells_how_bad_it_is() -> None:
    one, other = warning("a", "b", "c"), critical("a", "b", "c")
    assert [exit_code(found) for found in ([], [one], [one, other])] == [0, 10, 11]
