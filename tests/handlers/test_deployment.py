"""Deploy, rescue and restore: which steps they take, with what, and how each is tried again."""

import pytest

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.events import machine as ev
from mulligan.handlers import deployment, image, plans, upkeep, userdata
from mulligan.handlers import operations as ops
from mulligan.handlers.claim_ends import EndClaim
from mulligan.handlers.decision import Command
from mulligan.model import (
    AccountId,
    CommitId,
    ImageId,
    MachineId,
    ProjectId,
    UserDataId,
)

from .given import C1, HOUR, M1, MACHINE, NOON, OS, WEB, Given, claim_of

OP = CommitId("op")
DB = ProjectId("db")
PHONES = ImageId("phones")
HTTP = ImageId("http")
HELPER = ImageId("helper")
SCRIPT = UserDataId("script")


def add_image(
    given: Given, key: ImageId, *, kind: str = "iso", ready_when: str = "power-on"
) -> None:
    command = image.CreateImage(
        image=key, name=key, url=f"http://images/{key}", sha256="a" * 64, kind=kind,
        ready_when=ready_when,
    )  # fmt: skip
    given.do(command)


def add_user_data(given: Given, key: UserDataId = SCRIPT, project: ProjectId = WEB) -> None:
    command = userdata.CreateUserData(
        user_data=key, name=key, project=project, version="v1", sha256="b" * 64, size=10
    )
    given.do(command)


def ready() -> Given:
    """A claimed machine, with images of every kind and user data."""
    given = Given()
    given.project()
    given.available()
    given.claimed(M1)
    add_image(given, PHONES, ready_when="phone-home")
    add_image(given, HTTP, kind="http-boot")
    add_image(given, HELPER)
    add_user_data(given)
    return given


def deploy(
    image_id: ImageId = OS, user_data: str = "", hostname: str = ""
) -> deployment.DeployMachine:
    return deployment.DeployMachine(
        claim=C1, image=image_id, operation=OP, user_data=UserDataId(user_data), hostname=hostname
    )


def rescue(image_id: ImageId = HELPER, user_data: str = "") -> deployment.RescueMachine:
    return deployment.RescueMachine(
        machine=M1, image=image_id, operation=CommitId("rescue"), user_data=UserDataId(user_data)
    )


RESTORE = deployment.RestoreMachine(machine=M1, operation=CommitId("restore"))


def params_of(given: Given, step: str) -> dict[str, str]:
    """Go on to the step and return what it is asked with."""
    while given.operation().step != step:
        if given.operation().step in plans.WAITED:
            given.report()
        else:
            given.step()
    (event,) = given.request()
    assert isinstance(event, ev.ActionRequested) and event.step == step
    return event.params


@pytest.mark.parametrize(
    ("image_id", "user_data", "steps"),
    [
        (OS, "", "insert_media boot_once power_on wait_ready"),
        (OS, SCRIPT, "insert_media insert_seed boot_once power_on wait_ready"),
        (PHONES, "", "insert_media insert_seed boot_once power_on phone_home eject_media"),
        (HTTP, "", "boot_http power_on wait_ready"),
        (HTTP, SCRIPT, "insert_seed boot_http power_on wait_ready"),
    ],
)
def test_a_deploy_boots_its_image_the_way_that_this_kind_is_booted(
    image_id: ImageId, user_data: str, steps: str
) -> None:
    given = ready()
    given.do(deploy(image_id, user_data))
    assert given.finish() == [
        *("check", "stage_image", "power_off", "eject_media"), *steps.split(), "clear_boot"
    ]  # fmt: skip
    machine = given.machine()
    assert (machine.state, machine.image, machine.user_data) == ("active", image_id, user_data)


@pytest.mark.parametrize(
    ("image_id", "steps"),
    [
        (OS, "insert_media boot_once power_on wait_ready"),
        (PHONES, "insert_media insert_seed boot_once power_on phone_home"),
        (HTTP, "boot_http power_on wait_ready"),
    ],
)
def test_a_rescue_boots_its_image_beside_the_system_and_leaves_the_media_in(
    image_id: ImageId, steps: str
) -> None:
    given = ready()
    given.do(deploy(OS))
    given.finish()
    given.do(rescue(image_id))
    assert given.finish() == [
        *("check", "stage_image", "power_off", "eject_media"), *steps.split(), "clear_boot"
    ]  # fmt: skip
    machine = given.machine()
    assert (machine.state, machine.image, machine.rescue) == ("rescue", OS, image_id)


AGAIN = "check stage_image power_off eject_media"
FROM_DISK = "check power_off eject_media clear_boot power_on wait_ready"


@pytest.mark.parametrize(
    ("image_id", "user_data", "steps"),
    [
        (OS, "", f"{AGAIN} insert_media boot_once power_on wait_ready clear_boot"),
        (OS, SCRIPT, f"{AGAIN} insert_media insert_seed boot_once power_on wait_ready clear_boot"),
        (HTTP, "", f"{AGAIN} boot_http power_on wait_ready clear_boot"),
        (PHONES, "", FROM_DISK),
    ],
)
def test_a_restore_goes_back_to_the_disk_or_to_the_image_that_the_system_ran_from(
    image_id: ImageId, user_data: str, steps: str
) -> None:
    given = ready()
    given.do(deploy(image_id, user_data))
    given.finish()
    given.do(rescue())
    given.finish()
    given.do(RESTORE)
    assert given.operation().image == image_id
    assert given.finish() == steps.split()
    machine = given.machine()
    assert (machine.state, machine.rescue, machine.image) == ("active", "", image_id)


def adopted(given: Given) -> MachineId:
    machine = given.enrolled("m2")
    ann = AccountId("ann")
    given.do(ops.AdoptMachine(machine=machine, operation=OP, project=WEB, account=ann))
    given.finish("m2")
    return machine


def test_an_adopted_machine_is_restored_from_its_disk() -> None:
    given = ready()
    machine = adopted(given)
    given.do(deployment.RescueMachine(machine=machine, image=HELPER, operation=CommitId("r")))
    given.finish("m2")
    given.do(deployment.RestoreMachine(machine=machine, operation=CommitId("s")))
    assert given.finish("m2") == FROM_DISK.split()
    assert given.machine("m2").state == "active"


def test_the_image_is_asked_for_by_its_checksum_and_the_seed_by_the_hash_of_its_content() -> None:
    given = ready()
    given.do(deploy(PHONES, SCRIPT, hostname="web-1.example"))
    assert params_of(given, "stage_image") == {
        "image_url": "http://images/phones",
        "sha256": "a" * 64,
        "mode": "uefi",
        "device": "cd",
        "ready_when": "phone-home",
    }
    given.attempt()
    given.do(ops.AbortMachine(machine=M1, by="ann"))
    given.do(deploy(PHONES, SCRIPT, hostname="web-1.example"))
    assert params_of(given, "insert_seed") == {
        "machine": M1,
        "operation": OP,
        "hostname": "web-1.example",
        "phone_home": "yes",
        "user_data": SCRIPT,
        "user_data_version": "v1",
        "user_data_sha256": "b" * 64,
    }


def test_a_machine_without_a_host_name_is_called_by_its_own() -> None:
    given = ready()
    given.do(deploy(OS, SCRIPT))
    params = params_of(given, "insert_seed")
    assert (params["hostname"], params["phone_home"]) == ("m1", "")


@pytest.mark.parametrize("hostname", ["-a", "a-", "A", "a b", "a..b", "a" * 64, "é", "a_b", "a/b"])
def test_what_is_no_host_name_is_refused(hostname: str) -> None:
    with pytest.raises(InvalidArgument, match="host name"):
        ready().do(deploy(hostname=hostname))


@pytest.mark.parametrize("hostname", ["a", "web-1", "web-1.example.org", "a" * 63])
def test_a_host_name_is_kept_with_the_machine(hostname: str) -> None:
    given = ready()
    given.do(deploy(hostname=hostname))
    assert given.machine().hostname == hostname


def test_another_projects_user_data_is_not_found() -> None:
    given = ready()
    add_user_data(given, UserDataId("theirs"), DB)
    for command in (deploy(OS, "theirs"), deploy(OS, "none")):
        with pytest.raises(NotFound, match=r"user ?data"):
            given.do(command)
    given.do(deploy(OS))
    given.finish()
    with pytest.raises(NotFound, match="user data"):
        given.do(rescue(user_data="theirs"))


def test_a_rescue_is_its_holders_and_needs_an_open_claim() -> None:
    given = Given()
    given.available()
    given.do(claim_of({M1: {MACHINE: 1}}, end=NOON + HOUR, on_end="keep_power_off"))
    add_image(given, HELPER)
    given.do(deploy())
    given.finish()
    theirs = deployment.RescueMachine(machine=M1, image=HELPER, operation=OP, project=DB)
    with pytest.raises(NotFound):
        given.do(theirs)
    given.do(rescue())
    given.finish()
    given.now += HOUR
    given.do(EndClaim(claim=C1))
    given.finish()
    for command in (RESTORE, deployment.RestoreMachine(machine=M1, operation=OP, project=WEB)):
        with pytest.raises(FailedPrecondition, match="is over"):
            given.do(command)
    with pytest.raises(NotFound):
        given.do(deployment.RestoreMachine(machine=M1, operation=OP, project=DB))


def test_a_machine_of_another_claim_is_not_deployed() -> None:
    given = ready()
    given.do(deploy())
    given.finish()
    given.do(upkeep.CordonMachine(machine=M1, by=AccountId("ann"), reason="fan"))
    held = given.claim(C1)
    other = ev.OperationStarted(
        operation=OP, verb="deploy", steps=(), deadline=NOON, then="active",
        claim=type(held.id)("c2"), project=WEB,
    )  # fmt: skip
    given.happened("machine", M1, other, ev.OperationCompleted(operation=OP))
    with pytest.raises(FailedPrecondition, match="another claim"):
        given.do(deploy())


def test_a_failed_rescue_is_tried_again_with_its_own_image_though_the_systems_is_gone() -> None:
    given = ready()
    add_user_data(given, UserDataId("for-rescue"))
    given.do(deploy(OS))
    given.finish()
    given.do(image.DeleteImage(image=OS))
    given.do(rescue(HELPER, "for-rescue"))
    given.fail()
    given.do(ops.RetryMachine(machine=M1, operation=OP))
    operation = given.operation()
    assert (operation.verb, operation.image, operation.user_data) == (
        "rescue",
        HELPER,
        "for-rescue",
    )
    given.finish()
    assert (given.machine().state, given.machine().image) == ("rescue", OS)


def test_a_failed_rescue_of_an_adopted_machine_is_tried_again() -> None:
    given = ready()
    machine = adopted(given)
    given.do(deployment.RescueMachine(machine=machine, image=HELPER, operation=CommitId("r")))
    given.fail("m2")
    given.do(ops.RetryMachine(machine=machine, operation=CommitId("again")))
    given.finish("m2")
    assert given.machine("m2").state == "rescue"


def test_a_failed_restore_is_tried_again_as_what_it_was() -> None:
    given = ready()
    given.do(deploy(OS))
    given.finish()
    given.do(rescue())
    given.finish()
    given.do(RESTORE)
    given.fail()
    assert given.machine().rescue == HELPER
    given.do(ops.RetryMachine(machine=M1, operation=OP))
    assert (given.operation().verb, given.operation().image) == ("restore", OS)
    given.finish()
    assert (given.machine().state, given.machine().rescue) == ("active", "")


def test_a_deploy_whose_user_data_is_gone_is_not_tried_again_without_it() -> None:
    given = ready()
    given.do(deploy(OS, SCRIPT))
    given.fail()
    given.do(userdata.DeleteUserData(user_data=SCRIPT))
    with pytest.raises(NotFound, match=r"user ?data"):
        given.do(ops.RetryMachine(machine=M1, operation=OP))


def test_a_system_is_restored_without_the_user_data_that_was_deleted_since() -> None:
    given = ready()
    given.do(deploy(OS, SCRIPT))
    given.finish()
    given.do(rescue())
    given.finish()
    given.do(userdata.DeleteUserData(user_data=SCRIPT))
    given.do(RESTORE)
    assert "insert_seed" not in given.finish()
    assert given.machine().state == "active"


@pytest.mark.parametrize("verb", ["inspect", "adopt", "clean", "deploy", "rescue", "restore"])
def test_each_failure_is_tried_again_from_its_first_step_in_the_time_of_its_verb(
    verb: ev.Verb,
) -> None:
    given = ready()
    if verb in {"inspect", "adopt"}:
        given.do(ops.ManageMachine(machine=M1))
    ways: dict[str, list[Command]] = {
        "inspect": [ops.InspectMachine(machine=M1, operation=OP)],
        "adopt": [
            ops.AdoptMachine(machine=M1, operation=OP, project=WEB, account=AccountId("ann"))
        ],
        "clean": [
            ops.ManageMachine(machine=M1), ops.ProvideMachine(machine=M1, operation=OP)
        ],
        "deploy": [deploy()],
        "rescue": [deploy(), rescue()],
        "restore": [deploy(), rescue(), RESTORE],
    }  # fmt: skip
    for command in ways[verb]:
        if given.machine().operation is not None:
            given.finish()
        given.do(command)
    steps = given.operation().steps
    given.step()
    given.fail()
    assert given.machine().failed == verb
    given.now += 2 * HOUR
    again = CommitId("again")
    given.do(ops.RetryMachine(machine=M1, operation=again))
    operation = given.operation()
    assert (operation.id, operation.verb, operation.steps, operation.done) == (
        again,
        verb,
        steps,
        0,
    )
    assert operation.deadline == given.now + plans.DEADLINES[verb]
    assert given.machine().fault is None


@pytest.mark.parametrize("command", [rescue(), RESTORE, deploy()])
def test_a_wish_to_keep_a_machine_off_ends_where_it_is_to_run(
    command: deployment.RescueMachine | deployment.RestoreMachine | deployment.DeployMachine,
) -> None:
    given = ready()
    if command != deploy():
        given.do(deploy())
        given.finish()
    if command == RESTORE:
        given.do(rescue())
        given.finish()
    given.do(upkeep.KeepPower(machine=M1, power="off"))
    given.do(command)
    assert given.machine().desired == ""
