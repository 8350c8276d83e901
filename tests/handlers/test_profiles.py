"""Hardware profiles: which machines they are for, how long things take, and how to clean."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

import pytest

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.events import machine as ev
from mulligan.events.machine import Disk, DiskProof, Facts
from mulligan.handlers import deployment, image, plans, profile, reports, upkeep
from mulligan.handlers import operations as ops
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.decision import Command
from mulligan.model import CommitId, ImageId

from .given import C1, HOUR, M1, NOON, OS, Given, field, types

OP = CommitId("op")
WIPER = ImageId("wiper")
NONE = ImageId("")
ACME = Facts(
    manufacturer="Acme Inc.", model="R650 Gen2", serial="S-m1",
    disks=(Disk(id="0", serial="A"), Disk(id="1", serial="B")),
)  # fmt: skip


def define(
    name: str = "acme",
    *,
    manufacturer: str = "*",
    model: str = "*",
    deadlines: Mapping[str, int] = MappingProxyType({}),
    clean: tuple[str, ...] = (),
    wipe_image: ImageId = NONE,
) -> profile.SetProfile:
    return profile.SetProfile(
        name=name,
        manufacturer=manufacturer,
        model=model,
        deadlines=dict(deadlines),
        clean=clean,
        wipe_image=wipe_image,
    )


WIPES = define(clean=("wipe",), wipe_image=WIPER)


def world() -> Given:
    """A machine of Acme's that is available, and a wipe image."""
    given = Given()
    given.hardware[M1] = ACME
    given.available()
    given.do(image.CreateImage(image=WIPER, name="wiper", url="file:wipe.iso", sha256="c" * 64))
    return given


def clean(given: Given) -> None:
    """Start to clean the machine."""
    given.do(ops.ManageMachine(machine=M1))
    given.do(ops.ProvideMachine(machine=M1, operation=CommitId(given.fresh("clean"))))


@pytest.mark.parametrize(
    ("patterns", "closest"),
    [
        ([], ""),
        ([("*", "*")], "p0"),
        ([("acme*", "*"), ("*", "*")], "p0"),
        ([("*", "*"), ("Acme Inc.", "*")], "p1"),
        ([("Acme*", "*"), ("Acme*", "R650*"), ("Acme*", "R6*")], "p1"),
        ([("Acme Inc.", "*"), ("A*", "R650 Gen2")], "p0"),
        ([("Other", "*"), ("*", "*")], "p1"),
        ([("Acme", "*")], ""),
        ([("Acme*", "R640")], ""),
    ],
)
def test_the_closest_match_of_the_make_counts(
    patterns: list[tuple[str, str]], closest: str
) -> None:
    given = world()
    for n, (manufacturer, model) in enumerate(patterns):
        given.do(define(f"p{n}", manufacturer=manufacturer, model=model))
    clean(given)
    assert given.operation().profile == closest


def test_a_profile_given_by_hand_comes_before_a_match_and_a_match_before_none() -> None:
    given = world()
    given.do(define("by-make", manufacturer="Acme*", clean=("wipe",), wipe_image=WIPER))
    given.do(define("by-hand", manufacturer="nobody"))
    given.do(upkeep.AssignProfile(machine=M1, profile="by-hand"))
    clean(given)
    assert given.operation().profile == "by-hand"
    given.finish()
    given.do(profile.DeleteProfile(name="by-hand"))
    clean(given)
    assert given.operation().profile == "by-make", "a machine is not left unwiped by a deletion"
    assert "wipe_report" in given.operation().steps


@pytest.mark.parametrize("verb", ["clean", "deploy", "power", "inspect", "rescue", "restore"])
def test_an_operation_ends_by_the_deadline_of_its_profile(verb: ev.Verb) -> None:
    given = world()
    seconds: dict[str, int] = {v: 100 * n for n, v in enumerate(plans.DEADLINES, 1)}
    given.do(define(deadlines=seconds))
    given.claimed(M1)
    operation = CommitId("the-one")
    deploy = deployment.DeployMachine(claim=C1, image=OS, operation=operation)
    rescue = deployment.RescueMachine(machine=M1, image=OS, operation=operation)
    restore = deployment.RestoreMachine(machine=M1, operation=operation)
    manage = ops.ManageMachine(machine=M1)
    ways: dict[str, list[Command]] = {
        "clean": [manage, ops.ProvideMachine(machine=M1, operation=operation)],
        "deploy": [deploy],
        "power": [ops.PowerMachine(machine=M1, target="off", operation=operation)],
        "inspect": [manage, ops.InspectMachine(machine=M1, operation=operation)],
        "rescue": [deploy, rescue],
        "restore": [deploy, rescue, restore],
    }
    for command in ways[verb]:
        if given.machine().operation is not None:
            given.finish()
        given.do(command)
    assert given.operation().deadline == NOON + timedelta(seconds=seconds[verb])


def test_the_machine_of_a_claim_that_ends_is_cleaned_by_its_profile() -> None:
    given = world()
    given.claimed(M1)
    given.do(deployment.DeployMachine(claim=C1, image=OS, operation=OP))
    given.finish()
    given.do(WIPES)
    given.do(ReleaseClaim(claim=C1))
    assert (given.operation().profile, given.operation().image) == ("acme", WIPER)


def test_cleaning_takes_the_steps_of_the_profile_in_their_order() -> None:
    given = world()
    given.do(define(clean=("bios-reset", "wipe"), wipe_image=WIPER))
    clean(given)
    assert given.operation().deadline == NOON + plans.WIPE_DEADLINE
    assert given.finish() == [
        "check", "power_off", "eject_media", "bios_reset", "stage_image", "insert_media",
        "insert_seed", "boot_once", "power_on", "wipe_report", "power_off", "eject_media",
        "clear_boot", "observe_power",
    ]  # fmt: skip
    record = given.machine().cleaned
    assert record is not None
    assert (record.profile, record.at, {p.serial for p in record.proofs}) == (
        "acme", NOON, {"A", "B"},
    )  # fmt: skip
    given.do(define(clean=("bios-reset",)))
    clean(given)
    assert given.finish() == [
        "check", "power_off", "eject_media", "bios_reset", "clear_boot", "observe_power",
    ]  # fmt: skip


def test_the_wipe_image_is_told_to_wipe_and_which_disks_there_are() -> None:
    given = world()
    given.do(WIPES)
    clean(given)
    while given.operation().step != "insert_seed":
        given.step()
    (event,) = given.request()
    assert isinstance(event, ev.ActionRequested)
    assert (event.params["wipe"], event.params["disks"]) == ("yes", "A,B")
    assert "user_data" not in event.params


def proof(serial: str, *, verified: bool = True, error: str = "") -> DiskProof:
    return DiskProof(serial=serial, method="overwrite", verified=verified, error=error)


def wiped(given: Given, *proofs: DiskProof) -> None:
    """Clean by wiping, with these proofs."""
    given.do(WIPES)
    clean(given)
    while given.operation().step != "wipe_report":
        given.step()
    operation = given.operation().id
    given.do(reports.ReportWipe(machine=M1, operation=operation, proofs=proofs))
    while given.operation().step:
        given.step()
    given.complete()


@pytest.mark.parametrize(
    ("proofs", "says"),
    [
        ((), "A, B"),
        ((proof("A"),), "B"),
        ((proof("A"), proof("C")), "B"),
        ((proof("A"), proof("B", verified=False)), "not verified"),
        ((proof("A"), proof("B", error="it is frozen")), "it is frozen"),
        ((proof("A"), proof("B"), proof("C", error="no answer")), "C: no answer"),
    ],
)
def test_a_machine_is_not_offered_without_a_proof_for_every_disk(
    proofs: tuple[DiskProof, ...], says: str
) -> None:
    given = world()
    wiped(given, *proofs)
    machine = given.machine()
    assert (machine.state, machine.failed) == ("failed", "clean")
    assert machine.fault is not None and machine.fault.fault == "not-wiped"
    assert says in machine.fault.message
    assert {"cleaning", "machine-failed"} <= given.provider(M1).cordons.keys()
    given.do(ops.RetryMachine(machine=M1, operation=OP))
    given.finish()
    assert (given.machine().state, given.provider(M1).cordons) == ("available", {})


def test_a_disk_that_the_bmc_does_not_know_of_is_proven_too() -> None:
    given = world()
    wiped(given, proof("A"), proof("B"), proof("C"))
    assert given.machine().state == "available"


def test_disks_without_a_serial_number_are_counted() -> None:
    given = Given()
    given.hardware[M1] = Facts(serial="S-m1", disks=(Disk(id="0"), Disk(id="1")))
    given.available()
    given.do(image.CreateImage(image=WIPER, name="wiper", url="file:wipe.iso", sha256="c" * 64))
    wiped(given, proof("A"))
    fault = given.machine().fault
    assert fault is not None and "1 of 2" in fault.message
    given.do(ops.RetryMachine(machine=M1, operation=OP))
    while given.operation().step != "wipe_report":
        given.step()
    both = (proof("A"), proof("B"))
    given.do(reports.ReportWipe(machine=M1, operation=OP, proofs=both))
    given.finish()
    assert given.machine().state == "available"


def test_the_image_that_a_profile_wipes_with_is_not_deleted() -> None:
    given = world()
    given.do(WIPES)
    with pytest.raises(FailedPrecondition, match="acme wipes with"):
        given.do(image.DeleteImage(image=WIPER))
    given.do(define(clean=()))
    given.do(image.DeleteImage(image=WIPER))


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (define("Not A Slug"), "name"),
        (define(manufacturer=""), "manufacturer"),
        (define(model="x" * 129), "model"),
        (define(deadlines={"dance": 60}), "deadlines[dance]"),
        (define(deadlines={"deploy": 59}), "deadlines[deploy]"),
        (define(deadlines={"deploy": 7 * 24 * 3600 + 1}), "deadlines[deploy]"),
        (define(clean=("polish",)), "clean[0]"),
        (define(clean=("bios-reset", "bios-reset")), "clean[1]"),
        (define(clean=("wipe",)), "wipe_image"),
        (define(wipe_image=OS), "wipe_image"),
        (define(clean=("wipe",), wipe_image=ImageId("http")), "wipe_image"),
    ],
)
def test_a_senseless_profile_is_refused_with_its_field(command: Command, named: str) -> None:
    given = world()
    given.do(
        image.CreateImage(
            image=ImageId("http"), name="http", url="http://i/x", sha256="d" * 64, kind="http-boot"
        )
    )
    with pytest.raises(InvalidArgument) as refused:
        given.do(command)
    assert field(refused) == named


def test_a_wipe_image_has_to_be_there() -> None:
    given = world()
    for gone in (ImageId("none"), WIPER):
        if gone == WIPER:
            given.do(image.DeleteImage(image=WIPER))
        with pytest.raises(NotFound, match="image"):
            given.do(define(clean=("wipe",), wipe_image=gone))


def test_a_profile_is_replaced_kept_and_forgotten() -> None:
    given = world()
    assert types(given.do(WIPES)) == ["profile.set"]
    assert given.do(WIPES) == []
    assert types(given.do(define(deadlines={"deploy": 60}))) == ["profile.set"]
    given.do(profile.DeleteProfile(name="acme"))
    with pytest.raises(NotFound, match="acme"):
        given.do(profile.DeleteProfile(name="acme"))


def test_profiles_are_bounded_in_number() -> None:
    given = Given()
    for n in range(profile.MAX_PROFILES):
        given.do(define(f"p{n}"))
    with pytest.raises(InvalidArgument, match="200 profiles"):
        given.do(define("one-more"))
    given.do(define("p0", deadlines={"deploy": 60}))


def test_an_operation_keeps_what_its_profile_gave_it() -> None:
    given = world()
    given.do(define(deadlines={"clean": 7200}))
    clean(given)
    given.do(profile.DeleteProfile(name="acme"))
    assert given.operation().deadline == NOON + 2 * HOUR
    given.finish()
    assert given.machine().state == "available"
