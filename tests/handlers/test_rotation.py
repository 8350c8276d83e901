"""Rotations as decisions: what is begun, proven, ended and destroyed; no password is ever lost."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import credential as events
from mulligan.events import machine as machine_events
from mulligan.events.machine import Bmc, BmcPasswordProven, StepObserved
from mulligan.handlers import upkeep
from mulligan.handlers.actions import AttemptStep, ObserveStep
from mulligan.handlers.brake import ApplyBrake
from mulligan.handlers.credential import Credential, DeleteCredential, logins_of
from mulligan.handlers.enrolment import DeleteMachine, EnrolMachine, plain_address
from mulligan.handlers.machine import Unrotated
from mulligan.handlers.operations import AbortMachine, InspectMachine
from mulligan.handlers.rotation import (
    ASK_SOMEBODY,
    FinishRotation,
    ForgetVersions,
    ProveBeside,
    RotateMachine,
    StartRotation,
    check_password,
    pause_after,
)
from mulligan.model import AccountId, CommitId, CredentialId, MachineId, stream_id

from .given import HOUR, M1, MINUTE, NOON, Given

ROOT = CredentialId("root")
ANN = AccountId("ann")


class World(Given):
    """Machines with BMCs that have one password each, by version."""

    def __init__(self) -> None:
        super().__init__()
        self.bmc: dict[str, str] = {}
        self.with_catalogue()

    @property
    def login(self) -> Credential:
        state: Credential = self.states[stream_id("credential", "root")]
        return state

    def add(self, key: str, version: str = "1") -> None:
        self.enrolled(key)
        self.bmc[key] = version

    def start(self, version: str, *, given: bool = True) -> None:
        self.do(StartRotation(credential=ROOT, version=version, given=given))

    def begin(self, key: str = "m1") -> bool:
        """Ask for the machine's turn; tell whether it has one."""
        command = RotateMachine(
            machine=MachineId(key),
            credential=ROOT,
            version=self.login.goal,
            operation=CommitId(self.fresh("op")),
        )
        return bool(self.do(command))

    def observe(
        self,
        key: str,
        outcome: machine_events.Outcome,
        *,
        password: str = "",
        fault: str = "",
    ) -> None:
        operation = self.operation(key)
        assert operation.action is not None
        observed = StepObserved(
            action=operation.action.id, outcome=outcome, at=self.now, fault=fault
        )
        self.do(
            ObserveStep(
                machine=MachineId(key), operation=operation.id, observed=observed, password=password
            )
        )

    def find(self, key: str = "m1") -> None:
        """Do the step that looks which of two passwords the BMC takes."""
        self.request(key)
        action = self.operation(key).action
        assert action is not None
        tried = [action.params["first"], action.params["other"]]
        assert self.bmc[key] in tried, "two tries find it"
        self.attempt(key)
        self.observe(key, "done", password=self.bmc[key])

    def rotate(self, key: str = "m1") -> None:
        """Bring the machine's BMC to the goal."""
        assert self.begin(key)
        self.find(key)
        self.request(key)
        self.attempt(key)
        self.bmc[key] = self.login.goal
        self.observe(key, "done", password=self.bmc[key])
        self.complete(key)

    def all_proven(self) -> bool:
        goal = self.login.goal
        return all(self.machine(key).passwords == (goal,) for key in self.bmc)

    def settle(self) -> None:
        """End what can be ended, as the reconciler does."""
        if self.login.goal and self.all_proven():
            self.do(FinishRotation(credential=ROOT, version=self.login.goal))
            gone = self.login.older
            self.do(ForgetVersions(credential=ROOT, versions=gone))


def test_a_rotation_goes_through_its_steps_and_leaves_one_version() -> None:
    world = World()
    world.add("m1")
    world.start("2")
    assert (world.login.goal, world.login.kept) == ("2", ("1", "2"))
    world.rotate()
    machine = world.machine()
    assert (machine.passwords, machine.state, machine.operation) == (("2",), "enrolled", None)
    world.settle()
    assert (world.login.version, world.login.goal, world.login.kept) == ("2", "", ("2",))


def test_the_params_of_steps_name_versions_only() -> None:
    world = World()
    world.add("m1")
    world.start("2")
    world.begin()
    world.request()
    action = world.operation().action
    assert action is not None
    assert action.params == {"first": "1", "other": "2"}
    world.attempt()
    world.observe("m1", "done", password="1")
    world.request()
    action = world.operation().action
    assert action is not None
    assert action.params == {"before": "1", "version": "2", "tried": ""}
    assert world.machine().passwords == ("1", "2"), "from now on it may have either"
    world.attempt()
    world.observe("m1", "retry", fault="dropped")
    world.request()
    action = world.operation().action
    assert action is not None
    assert action.params["tried"] == "yes", "the next attempt looks first"


def test_what_was_seen_to_work_counts_even_where_the_step_failed() -> None:
    world = World()
    world.add("m1")
    world.start("2")
    world.begin()
    world.find()
    world.request()
    world.attempt()
    world.observe("m1", "fatal", password="1", fault="password-refused")
    world.fail(fault="password-refused")
    machine = world.machine()
    assert machine.passwords == ("1",)
    assert machine.unrotated == Unrotated(
        version="2", fault="password-refused", message="password-refused", at=NOON, failures=1
    )
    assert (machine.state, machine.fault) == ("enrolled", None), "it is no fault of the machine"


def test_nobody_is_asked_twice_what_would_lock_an_account() -> None:
    for fault in ASK_SOMEBODY:
        assert pause_after(fault, 1) is None
    pauses = [pause_after("unreachable", n) for n in (1, 2, 3, 9, 10_000)]
    assert pauses == [5 * MINUTE, 10 * MINUTE, 20 * MINUTE, HOUR, HOUR]


@pytest.mark.parametrize("fault", ["bad-credentials", "unreachable"])
def test_a_machine_that_failed_is_left_alone_until_it_is_due(fault: str) -> None:
    world = World()
    world.add("m1")
    world.start("2")
    world.begin()
    world.fail(fault=fault)
    assert not world.begin()
    world.now += 6 * MINUTE
    assert world.begin() is (fault == "unreachable")


def test_allowing_logins_or_another_password_brings_a_machine_back() -> None:
    world = World()
    world.add("m1")
    world.start("2")
    for bring_back in (
        lambda: world.do(upkeep.AllowLogins(machine=M1)),
        lambda: world.start("3"),
    ):
        assert world.begin()
        world.fail(fault="bad-credentials")
        assert not world.begin()
        bring_back()
    assert world.begin()


def test_a_machine_takes_part_at_rest_only() -> None:
    world = World()
    world.add("m1")
    world.start("2")
    world.do(InspectMachine(machine=M1, operation=CommitId("inspection")))
    assert not world.begin()
    world.fail()
    world.do(upkeep.CordonMachine(machine=M1, by=ANN, reason="fan", maintenance=True))
    assert not world.begin()
    world.do(upkeep.UncordonMachine(machine=M1, by=ANN))
    world.do(ApplyBrake(domain="region", failed=4, total=5, window=600))
    assert not world.begin()


def test_a_failed_machine_stays_as_it_is_through_a_rotation() -> None:
    world = World()
    world.available()
    world.bmc["m1"] = "1"
    world.do(upkeep.CordonMachine(machine=M1, by=ANN, reason="look"))
    world.start("2")
    world.rotate()
    assert world.machine().state == "available"
    world.settle()
    assert world.login.version == "2"


def test_a_second_start_needs_a_password_of_its_own() -> None:
    world = World()
    world.start("2", given=False)
    with pytest.raises(FailedPrecondition, match="is being rotated already"):
        world.start("3", given=False)
    with pytest.raises(InvalidArgument, match="give a new one"):
        world.do(StartRotation(credential=ROOT, version="3", given=True, known=True))
    world.start("3")
    assert (world.login.goal, world.login.older) == ("3", ("2",))


def test_passwords_given_up_within_one_rotation_are_bounded() -> None:
    world = World()
    for number in range(2, 11):
        world.start(str(number))
    with pytest.raises(FailedPrecondition, match="former passwords"):
        world.start("11")


def test_a_credential_is_not_deleted_while_it_is_rotated() -> None:
    world = World()
    world.start("2")
    with pytest.raises(FailedPrecondition, match="is being rotated"):
        world.do(DeleteCredential(credential=ROOT))
    world.do(FinishRotation(credential=ROOT, version="2"))
    assert isinstance(world.do(DeleteCredential(credential=ROOT))[0], events.CredentialDeleted)


def test_the_end_of_a_rotation_that_was_overtaken_ends_nothing() -> None:
    world = World()
    world.start("2")
    world.start("3")
    assert world.do(FinishRotation(credential=ROOT, version="2")) == []
    assert world.do(ForgetVersions(credential=ROOT, versions=("7",))) == []


def test_another_login_or_address_begins_anew() -> None:
    world = World()
    world.add("m1")
    world.start("2")
    world.rotate()
    bmc = world.machine().bmc
    pinned = Bmc(address=bmc.address, credential=ROOT, fingerprint="0" * 64)
    world.do(upkeep.SetBmc(machine=M1, bmc=pinned))
    assert world.machine().passwords == ("2",)
    world.do(upkeep.SetBmc(machine=M1, bmc=Bmc(address="https://other", credential=ROOT)))
    assert world.machine().passwords == ()
    proven = BmcPasswordProven(credential=CredentialId("another"), version="9", at=NOON)
    world.happened("machine", "m1", proven)
    assert world.machine().passwords == (), "a late word about another login"


def test_one_bmc_proves_for_all_of_its_systems() -> None:
    world = World()
    for system in ("1", "2"):
        bmc = Bmc(address="https://shared", credential=ROOT, system=system)
        world.do(EnrolMachine(machine=MachineId(f"s{system}"), name=f"s{system}", bmc=bmc))
    world.add("m1")
    world.bmc["s1"] = "1"
    world.start("2")
    beside = ProveBeside(machine=MachineId("s2"), by=MachineId("s1"), version="2")
    assert world.do(beside) == [], "nothing is proven yet"
    world.rotate("s1")
    elsewhere = ProveBeside(machine=M1, by=MachineId("s1"), version="2")
    assert world.do(elsewhere) == [], "it has a BMC of its own"
    assert world.do(beside)
    assert world.machine("s2").passwords == ("2",)
    assert world.do(beside) == []


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ((), ("1", "3")),
        (("1",), ("1", "3")),
        (("2",), ("2", "3")),
        (("3",), ("3", "1")),
        (("1", "2"), ("1", "2")),
        (("gone",), ("1", "3")),
    ],
)
def test_the_proven_version_is_used_and_one_other_tried(
    known: tuple[str, ...], expected: tuple[str, str]
) -> None:
    login = Credential(id=ROOT, name="root", version="1", next_version="3", older=("2",))
    assert logins_of(login, known) == expected


def test_a_login_that_is_not_rotated_has_one_password() -> None:
    assert logins_of(Credential(id=ROOT, name="root", version="1"), ()) == ("1", "")


@pytest.mark.parametrize("password", ["", "short", "x" * 65, "with space", "tab\tabcd", "pässword"])
def test_passwords_that_bmcs_choke_on_are_refused(password: str) -> None:
    with pytest.raises(InvalidArgument, match="8 to 64 visible"):
        check_password(password)


def test_one_bmc_has_one_address() -> None:
    for written in ("https://h", "https://h/", "https://h:443", "https://h:443/", "HTTPS://h:443"):
        assert plain_address(written).lower() == "https://h"
    assert plain_address("http://h:80") == "http://h"
    assert plain_address("http://h:443") == "http://h:443"
    assert plain_address("https://[::1]:443/") == "https://[::1]"
    assert plain_address("https://h:8443") == "https://h:8443"


# -- whatever happens ------------------------------------------------------------------------


class Walk(World):
    """Everything that can happen around a rotation, in any order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.made = 1
        self.enrolments = 0
        self.alive: set[str] = set()
        for _ in range(2):
            self.come()

    def come(self) -> None:
        self.enrolments += 1
        key = f"w{self.enrolments}"
        self.add(key, self.login.version)

    def go(self) -> None:
        key = self.rng.choice([*self.bmc])
        self.do(DeleteMachine(machine=MachineId(key), force=True, reason="gone"))
        del self.bmc[key]

    def overtake(self) -> None:
        if len(self.login.older) < 5:
            self.made += 1
            self.start(str(self.made))

    def turn(self) -> None:
        if self.login.goal:
            self.begin(self.rng.choice([*self.bmc]))

    def abort(self) -> None:
        key = self.rng.choice([*self.bmc])
        if self.machine(key).operation is not None:
            self.do(AbortMachine(machine=MachineId(key), by="ann"))

    def time(self) -> None:
        self.now += timedelta(minutes=self.rng.choice((1, 30, 300)))

    def allow(self) -> None:
        self.do(upkeep.AllowLogins(machine=MachineId(self.rng.choice([*self.bmc]))))

    def step(self, key: str = "", outcome: object = None, fault: str = "") -> str:
        key = self.rng.choice([*self.bmc])
        operation = self.machine(key).operation
        if operation is None:
            return ""
        if not operation.step:
            self.complete(key)
        elif operation.retry is not None and operation.retry.fatal:
            self.fail(key, operation.retry.fault)
        elif operation.step == "find_password":
            self.find(key) if operation.action is None else None
        else:
            self.change(key)
        return ""

    def change(self, key: str) -> None:
        action = self.operation(key).action
        resumes = action is not None and bool(action.owner)
        if action is None:
            self.request(key)
            action = self.operation(key).action
        if action is None:
            return
        self.do(
            AttemptStep(
                machine=MachineId(key),
                operation=self.operation(key).id,
                action=action.id,
                owner=self.fresh("executor"),
                instead_of=action.owner,
            )
        )
        before, version = action.params["before"], action.params["version"]
        if (resumes or action.params["tried"]) and self.bmc[key] == version:
            self.observe(key, "done", password=version)
            return
        assert self.bmc[key] == before, "the step logs in with what it was told"
        applied = self.rng.random() < 0.6
        if applied:
            self.bmc[key] = version
        fate = self.rng.choice(("dies", "silent", "told"))
        if fate == "dies":
            return
        if fate == "silent":
            self.observe(key, "fatal", fault="dropped")
        elif applied:
            self.observe(key, "done", password=version)
        else:
            self.observe(key, "fatal", password=before, fault="password-refused")

    def live(self) -> None:
        doings: list[Callable[[], object]] = [self.turn, self.time, self.settle, *[self.step] * 6]
        doings += [self.rng.choice((self.come, self.go, self.overtake, self.abort, self.allow))]
        if not self.bmc:
            doings = [self.come]
        self.rng.choice(doings)()


@pytest.mark.parametrize("seed", range(40))
def test_a_password_that_works_is_kept_for_every_machine_whatever_happens(seed: int) -> None:
    walk = Walk(seed)
    ended = 0
    for _ in range(300):
        before = walk.login.version
        walk.live()
        ended += walk.login.version != before
        for key, has in walk.bmc.items():
            known = walk.machine(key).passwords
            assert has in walk.login.kept, f"{key} is lost"
            assert has in logins_of(walk.login, known), f"{key} is not found by two tries"
            assert len(known) <= 2
    assert ended or walk.login.goal or walk.made == 1, "it does not stand still"
