"""What is wrong with a region by what was found of it, how bad it is, and what to do."""

from datetime import UTC, datetime, timedelta

from mulligan.diagnosis.backups import backup_shown, notes_of
from mulligan.diagnosis.checks import SERVICES, problems_of, store_problems
from mulligan.diagnosis.etcd_members import members_shown
from mulligan.diagnosis.found import Seen, Status
from mulligan.diagnosis.leading import leads_of
from mulligan.diagnosis.machines import is_late
from mulligan.diagnosis.problem import Problem, critical, exit_code, warning
from mulligan.proto.v1 import (
    ArchiveStatus,
    Backup,
    Brake,
    Condition,
    Endpoint,
    EtcdMember,
    Fault,
    HealthStatus,
    Instance,
    LogStatus,
    Machine,
    MachineCordon,
    MachineState,
    Operation,
    Projection,
    Quota,
    QuotaUse,
)

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


def test_secrets_that_nobody_saved_are_a_problem_beside_the_archives_own() -> None:
    saved = Backup(of="secrets", saved_at=NOW - timedelta(days=9), newer=2, overdue=True)
    said = ArchiveStatus(problem="no such bucket", backups=[saved])
    archive, backup = store_problems(Status(archive=said, at=NOW))
    assert archive.what == "the archiver does not get on: no such bucket"
    assert (backup.severity, backup.subject) == ("warning", "backup")
    assert backup.what == "the secrets were saved 9d ago, 2 are newer than that"
    assert backup.next.startswith("mulligan backup secrets FILE")


def test_what_was_never_saved_is_a_note_for_a_day_and_a_problem_after_that() -> None:
    since = NOW - timedelta(hours=30)
    early = Backup(of="secrets", since=since, newer=12)
    found = well(archive=ArchiveStatus(backups=[early]))
    assert problems_of(found, NOW) == []
    (note,) = notes_of(found)
    assert note.what.endswith("are in no backup yet; do it today")
    assert note.next.startswith("mulligan backup secrets FILE")
    found.archive = ArchiveStatus(backups=[Backup(of="secrets", since=since, overdue=True)])
    (problem,) = problems_of(found, NOW)
    assert problem.what.startswith("in 1d6h the sealed secrets")
    assert notes_of(found) == []


def test_a_backup_is_shown_with_how_much_is_not_in_it() -> None:
    at = NOW - timedelta(hours=5)
    for said, shown in (
        (Backup(of="secrets", newer=12), "secrets: never saved, 12 to save"),
        (Backup(of="secrets", newer=1000), "secrets: never saved, 1000 or more to save"),
        (Backup(of="secrets", problem="it is torn"), "secrets: it is torn"),
    ):
        assert backup_shown(said, NOW) == shown
    shown = backup_shown(Backup(of="secrets", saved_at=at, newer=1), NOW)
    assert shown.endswith("5h ago, 1 is newer than that")


def cluster_of(*members: EtcdMember, instance_id: str = "archiver-1") -> Seen:
    return Seen(Instance(instance=instance_id, etcd_leader="1", etcd_members=list(members)), 0.0)


def member(number: int, problem: str = "", *, learner: bool = False) -> EtcdMember:
    address = f"10.0.0.{number}:2379"
    return EtcdMember(
        id=str(number), name=f"n{number}", addresses=[address], problem=problem, learner=learner
    )


def test_a_lost_member_of_etcd_is_told_with_what_the_next_one_would_stop() -> None:
    whole = well(instances=[cluster_of(member(1), member(2), member(3))])
    assert problems_of(whole, NOW) == []
    assert members_shown(whole) == "3 members, all answer"
    found = well(instances=[cluster_of(member(1), member(2, "no answer"), member(3))])
    (lost,) = problems_of(found, NOW)
    assert (lost.severity, lost.subject) == ("warning", "etcd")
    assert lost.what == (
        "etcd has 3 members and 2 answer: n2 at 10.0.0.2:2379 is away: no answer; one more lost"
        " stops all writing"
    )
    assert members_shown(found) == "3 members, 2 answer"


def test_a_majority_that_is_away_is_critical_and_a_spare_one_is_counted() -> None:
    found = well(instances=[cluster_of(member(1), member(2, "x"), member(3, "x"))])
    (none,) = problems_of(found, NOW)
    assert (none.severity, "no majority" in none.what) == ("critical", True)
    five = [member(n, "x" if n == 1 else "") for n in range(1, 6)]
    (spare,) = problems_of(well(instances=[cluster_of(*five)]), NOW)
    assert spare.what.endswith("1 more may be lost, not 2")
    learning = [member(1), member(2), member(3), member(4, "x", learner=True)]
    (learner,) = problems_of(well(instances=[cluster_of(*learning)]), NOW)
    assert learner.what.endswith("1 more may be lost, not 2")


def test_a_member_that_one_archiver_reaches_is_there() -> None:
    cut_off = cluster_of(member(1), member(2, "x"), instance_id="archiver-1")
    sees = cluster_of(member(1), member(2), instance_id="archiver-2")
    assert problems_of(well(instances=[cut_off, sees]), NOW) == []
    assert members_shown(well(instances=[cut_off, sees])) == "2 members, all answer"


def test_one_etcd_alone_is_told_to_have_no_redundancy() -> None:
    assert members_shown(well(instances=[cluster_of(member(1))])) == "1 member: no redundancy"
    assert members_shown(well()) == ""


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
    return problems_of(well(instances=list(instances)), NOW)


def well(**parts: object) -> Status:
    """Return a region where every service is registered, with what else was found."""
    services = [Endpoint(service=name, instance=f"{name}-1", version="1") for name in SERVICES]
    return Status(**({"services": services, "at": NOW} | parts))  # type: ignore[arg-type]


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
    assert "alarm disarm" in alarm.next


def test_a_halted_log_is_critical() -> None:
    (halted,) = found_in(instance("iam", log_failure="the chain is broken"))
    assert (halted.severity, halted.next) == ("critical", "mulligan log verify")
    (refusing,) = problems_of(well(halted={"meta-1": "the chain is broken"}), NOW)
    assert (refusing.subject, refusing.what) == ("meta-1", "the log halted: the chain is broken")


def test_a_quota_that_is_used_up_is_told() -> None:
    use = [QuotaUse(resource_class="node", used=4, limit=4), QuotaUse(used=9, limit=-1)]
    full = Status(quotas=[Quota(project_name="red", use=use)])
    assert any(one.subject == "red" for one in problems_of(full, NOW))


def test_the_exit_code_tells_how_bad_it_is() -> None:
    one, other = warning("a", "b", "c"), critical("a", "b", "c")
    assert [exit_code(found) for found in ([], [one], [one, other])] == [0, 10, 11]


NODE = "01900000-0000-7000-8000-{:012d}"


def failed(number: int = 1) -> Machine:
    return Machine(
        uuid=NODE.format(number),
        name=f"node-{number}",
        state=MachineState.FAILED,
        failed_operation="deploy",
        fault=Fault(fault="bmc_unreachable", message="no answer", step="power_on"),
    )


def unread(number: int, fault: str = "unreachable", **more: object) -> Machine:
    """Return a machine at rest whose BMC cannot be read."""
    why = Condition(component="bmc", message=f"BMC {number}: no", message_id=fault)
    health = HealthStatus(health="unknown", conditions=[why])
    uuid, name = NODE.format(number), f"node-{number}"
    given: dict[str, object] = {"state": MachineState.ACTIVE} | more
    return Machine(uuid=uuid, name=name, health=health, **given)  # type: ignore[arg-type]


def test_a_fault_with_a_known_remedy_is_told_with_it_before_the_retry() -> None:
    machine = failed()
    machine.fault = Fault(fault="bad-credentials", message="refused", step="check")
    (told,) = problems_of(well(machines=[machine]), NOW)
    assert "mulligan machine update node-1 --credential OTHER" in told.next
    assert "mulligan machine allow-logins node-1" in told.next
    assert told.next.endswith("; then mulligan machine retry node-1")


def test_a_bmc_at_rest_that_cannot_be_read_is_told_with_what_helps() -> None:
    (told,) = problems_of(well(unread=[unread(1, "tls")]), NOW)
    assert (told.severity, told.subject) == ("warning", "node-1")
    assert told.stream == f"machine/{NODE.format(1)}"
    assert told.what == "node-1: BMC 1: no"
    assert "--fingerprint" in told.next


def test_many_bmcs_that_are_away_for_one_reason_are_one_problem() -> None:
    found = well(unread=[unread(n) for n in range(1, 8)], more_unread=True)
    (told,) = problems_of(found, NOW)
    assert told.what == (
        "at least 7 BMCs cannot be read (unreachable), such as node-1's: BMC 1: no"
    )
    assert told.next.startswith("mulligan machine list --health unknown; ")


def test_a_bmc_that_nobody_asks_or_that_is_told_of_already_is_not_told_again() -> None:
    asleep = unread(1, cordon=MachineCordon(maintenance=True))
    retired = unread(2, state=MachineState.RETIRED)
    twice = unread(3)
    found = well(unread=[asleep, retired, twice], machines=[failed(3)])
    assert [one.subject for one in problems_of(found, NOW)] == ["node-3"]


def late(hours: float, deadline: datetime | None = None) -> Machine:
    began = NOW - timedelta(hours=hours)
    return Machine(
        uuid=NODE.format(2),
        name="node-2",
        state=MachineState.CLEANING,
        operation=Operation(verb="clean", step="power_off", started_at=began, deadline=deadline),
    )


def test_each_object_that_is_wrong_is_named_by_its_stream_with_what_to_do() -> None:
    found = well(
        projections=[Projection(name="claims", status="halted", seq=7, problem="no such")],
        brakes=[Brake(domain="r1", domain_name="rack-1", failed=4, total=10, window=600)],
        machines=[failed(), late(2)],
    )
    told = {one.stream: one for one in problems_of(found, NOW)}
    assert set(told) == {
        "projection/claims", "brake/r1", f"machine/{NODE.format(1)}", f"machine/{NODE.format(2)}",
    }  # fmt: skip
    assert told[f"machine/{NODE.format(1)}"].what == (
        "node-1 failed to deploy: no answer (step power_on)"
    )
    assert told[f"machine/{NODE.format(1)}"].next == (
        "mulligan machine why node-1, then mulligan machine retry node-1"
    )
    assert told["brake/r1"].next.endswith("mulligan brake release rack-1 --reason WHY")


def test_many_read_models_that_lag_for_one_reason_are_one_problem() -> None:
    def late(*names: str) -> list[Projection]:
        why = "Postgres: No space left on device"
        return [Projection(name=n, status="live", lag_seconds=9, problem=why) for n in names]

    (few,) = problems_of(well(projections=late("iam")), NOW)
    assert (few.subject, few.what) == ("iam", "it lags by 9s: Postgres: No space left on device")
    (many,) = problems_of(well(projections=late("iam", "names", "audit", "trail")), NOW)
    assert many.subject == "read models"
    assert many.what == "4 of them lag, by 9s: Postgres: No space left on device"


def test_an_operation_is_late_past_its_deadline_whatever_its_age() -> None:
    assert is_late(late(5), NOW)
    assert not is_late(late(0.1), NOW)
    assert not is_late(late(5, NOW + timedelta(minutes=1)), NOW)
    assert is_late(late(0.1, NOW - timedelta(minutes=1)), NOW)


def test_machines_beyond_the_first_are_counted() -> None:
    found = well(machines=[failed(n) for n in range(30)])
    *_, last = problems_of(found, NOW)
    assert last.what == "10 more are in trouble"
    found.more_machines = True
    *_, last = problems_of(found, NOW)
    assert last.what == "at least 10 more are in trouble"
    assert len(problems_of(found, NOW, most_machines=100)) == 31


def test_a_service_is_said_to_be_silent_unless_all_its_instances_are() -> None:
    found = well(silent={"control": "no answer"}, away={"control-1": "no answer"})
    (one,) = problems_of(found, NOW)
    assert (one.subject, one.next) == ("control-1", "see its log; mulligan serve control")
    found.services.append(Endpoint(service="control", instance="control-2", version="1"))
    assert [each.subject for each in problems_of(found, NOW)] == ["control", "control-1"]


def test_a_service_that_waits_for_a_halted_read_model_is_not_told_to_start_again() -> None:
    halted = Projection(name="images", status="halted", seq=7, problem="entry 8: no such")
    found = well(
        instances=[instance("control"), instance("log")],
        projections=[halted],
        silent={"control": "no answer within 1.5 s"},
    )
    (one,) = problems_of(found, NOW)
    assert one.subject == "images"
    assert one.what == "it halted after entry 7: entry 8: no such; its reads are of then"
    assert one.next.startswith("mend what it says, then mulligan projection retry images")
    found.silent["log"] = "no answer within 1.5 s"
    assert "log" in [one.subject for one in problems_of(found, NOW)]


def test_a_service_whose_store_is_away_is_not_told_to_start_again() -> None:
    away = instance("log", etcd_problem="no answer within 0.8 s")
    found = well(instances=[away, instance("iam")], silent={"log": "no answer within 1.5 s"})
    (one,) = problems_of(found, NOW)
    assert (one.subject, one.next) == ("etcd", "see whether etcd runs, and its log")


def test_what_was_said_in_several_lines_is_told_in_one() -> None:
    said = "Postgres is away: it starts\nDETAIL:  not yet\n"
    (one,) = found_in(instance("iam", postgres_problem=said))
    assert one.what.endswith("Postgres is away: it starts DETAIL: not yet")


def test_where_nobody_can_log_in_it_is_said_that_there_may_be_more() -> None:
    (one,) = problems_of(well(unknown="no answer within 1.5 s"), NOW)
    assert (one.severity, one.subject) == ("critical", "iam")
    assert "there may be more" in one.what


def test_who_leads_is_told_by_the_instances_themselves() -> None:
    found = well(
        instances=[
            instance("projector", leads=["read-models"]),
            instance("archiver", stands_by=True),
            instance("log", leads=["checkpoints", "of-a-later-release"]),
            instance("iam"),
        ]
    )
    assert leads_of(found) == {
        "projector-1": "read models",
        "archiver-1": "stands by",
        "log-1": "checkpoints, of-a-later-release",
    }
