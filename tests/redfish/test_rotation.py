"""A new password at every BMC, whatever dies on the way: no point leaves a BMC locked or lost."""

from collections.abc import Callable

import anyio
import pytest

from mulligan.errors import NotFound
from mulligan.events.machine import Bmc
from mulligan.handlers.credential import Credential
from mulligan.handlers.enrolment import DeleteMachine, EnrolMachine
from mulligan.handlers.machine import Machine
from mulligan.handlers.upkeep import AllowLogins, CordonMachine, UncordonMachine
from mulligan.model import AccountId, MachineId
from tests.redfish.account_bmc import ACCOUNT, AccountBmc
from tests.redfish.rotating import LAB, Lab, lab
from tests.redfish.scripted_bmc import SESSIONS, Behaviour, drop, ignored, stall, status

NEW = "N3w-Passw0rd.17"
NEWER = "Newer=Passw0rd.18"
M0 = MachineId("m0")


async def ended_well(it: Lab, *bmcs: AccountBmc, password: str = NEW) -> Credential:
    """Check that all BMCs have the password, that it alone is kept, and that none came close."""
    state = it.credential()
    assert (state.next_version, state.older) == ("", ())
    assert len(it.kv.values) == 1, "only one version is kept"
    for number, bmc in enumerate(bmcs):
        assert bmc.password == password
        assert await it.takes(state.version, bmc)
        assert bmc.refused_in_a_row < 2, "one more, and some BMCs lock the account"
        machine = it.machine(f"m{number}")
        assert machine.passwords == (state.version,)
        assert (machine.unrotated, machine.fault, machine.state) == (None, None, "manageable")
    for secret in (NEW, NEWER, "s3cret-Passw0rd"):
        assert secret.encode() not in it.written(), "no password is in the log"
    return state


@pytest.mark.parametrize("sessions", [True, False])
async def test_a_machine_is_given_the_new_password_and_the_old_one_is_destroyed(
    sessions: bool,
) -> None:
    bmc = AccountBmc(sessions=sessions)
    async with lab(bmc) as it:
        before = it.credential().version
        version = await it.rotate(NEW)
        await it.see_through()
        state = await ended_well(it, bmc)
        assert (state.version, it.destroyed) == (version, [before])
        assert bmc.refused_in_a_row == 0, "nothing was guessed"
        assert bmc.passwords == [NEW], "it was changed once"


async def test_machines_follow_once_the_first_one_went_well() -> None:
    bmcs = [AccountBmc() for _ in range(5)]
    async with lab(*bmcs) as it:
        await it.rotate(NEW)
        await it.rotations.check()
        busy = [m.id for m in it.machines() if m.operation is not None]
        assert len(busy) <= 1, "one machine goes first"
        await it.see_through()
        await ended_well(it, *bmcs)


async def test_two_rotations_in_a_row_leave_the_last_password() -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        await it.rotate(NEW)
        await it.see_through()
        await it.rotate(NEWER)
        await it.see_through()
        await ended_well(it, bmc, password=NEWER)
        assert bmc.refused_in_a_row == 0


@pytest.mark.parametrize(
    ("method", "path", "behaviour", "changes"),
    [
        ("PATCH", ACCOUNT, stall(20, apply=False), 1),
        ("PATCH", ACCOUNT, stall(20, apply=True), 1),
    ],
    ids=["before the BMC changed it", "between the change and its proof"],
)
@pytest.mark.parametrize("sessions", [True, False])
async def test_an_executor_that_dies_over_the_change_is_succeeded(
    method: str, path: str, behaviour: Behaviour, changes: int, sessions: bool
) -> None:
    bmc = AccountBmc(sessions=sessions)
    async with lab(bmc) as it:
        bmc.script(method, path, behaviour)
        await it.rotate(NEW)
        await it.rotations.check()
        await asked(bmc, method, path)
        it.kill("a", heir="b")
        await it.see_through()
        await ended_well(it, bmc)
        assert len(bmc.passwords) == changes


async def test_an_executor_that_dies_between_the_proof_and_its_event_is_succeeded() -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        await it.rotate(NEW)
        held = held_back(bmc, lambda: bmc.password == NEW, "DELETE")
        await it.rotations.check()
        with anyio.fail_after(10):
            await held.wait()
        assert it.machine("m0").passwords[-1] == it.credential().next_version
        it.kill("a", heir="b")
        await it.see_through()
        await ended_well(it, bmc)
        assert bmc.passwords == [NEW], "it was found, and not changed again"


@pytest.mark.parametrize(
    "behaviour",
    [drop(apply=True), drop(apply=False), stall(2, apply=True), status(503)],
    ids=["reset by the change", "dropped before it", "applied and never answered", "busy"],
)
async def test_a_bmc_that_fails_over_the_change_has_one_working_password(
    behaviour: Behaviour,
) -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        bmc.script("PATCH", ACCOUNT, behaviour)
        await it.rotate(NEW)
        await it.see_through()
        await ended_well(it, bmc)


@pytest.mark.parametrize("lost", [1, 2], ids=["within the step", "and fails the operation"])
async def test_a_guess_that_was_refused_is_not_repeated_before_the_password_that_is_known(
    lost: int,
) -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        bmc.script("PATCH", ACCOUNT, drop(apply=False))
        bmc.script("POST", SESSIONS, lost_with(bmc, bmc.password, lost), times=99)
        await it.rotate(NEW)
        if lost == 2:
            await seen_to(it, lambda: it.machine("m0").unrotated is not None)
            it.ahead += it.ahead.__class__(minutes=10)
        await it.see_through()
        await ended_well(it, bmc)
        assert bmc.refused_in_a_row == 1


async def test_control_that_dies_after_each_thing_it_does_goes_on_from_the_log() -> None:
    bmcs = [AccountBmc(), AccountBmc()]
    async with lab(*bmcs) as it:
        await it.rotate(NEW)

        async def as_a_new_process() -> None:
            await it.new_rotations().check()

        await it.see_through(as_a_new_process)
        await ended_well(it, *bmcs)


async def test_control_that_dies_between_the_end_and_the_destruction_destroys_later() -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        before = it.credential().version
        await it.rotate(NEW)

        async def up_to_the_end() -> None:
            if it.credential().next_version:
                await it.rotations.check()

        with anyio.move_on_after(10):
            while it.credential().next_version:
                await up_to_the_end()
                await anyio.sleep(0.01)
        assert it.credential().older == (before,)
        assert len(it.kv.values) == 2, "the old one is there until it is seen to"
        await it.store.retire("bmc", LAB, before)  # and once more, after a crash in between
        await it.new_rotations().check()
        await ended_well(it, bmc)


async def test_a_password_that_is_sealed_and_never_announced_changes_nothing() -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        await it.store.put("bmc", LAB, f"admin\0{NEW}".encode())
        await it.rotations.check()
        assert not it.credential().goal
        assert await it.takes(it.credential().version, bmc)


# -- BMCs that will not ----------------------------------------------------------------------


async def test_a_policy_that_refuses_leaves_the_old_password_and_takes_the_next_one() -> None:
    strict, lax = AccountBmc(), AccountBmc()
    async with lab(lax, strict) as it:
        strict.policy, strict.echoes = "PropertyValueFormatError", True
        first = await it.rotate(NEW)
        await seen_to(it, lambda: it.machine("m1").unrotated is not None)
        trouble = it.machine("m1").unrotated
        assert trouble is not None
        assert (trouble.fault, trouble.failures) == ("password-refused", 1)
        assert "another password" in trouble.message
        assert lax.password == NEW
        assert it.machine("m1").passwords == (it.credential().version,), "as it was"
        strict.policy = ""
        await it.rotate(NEWER)
        assert it.credential().older == (first,), "a BMC has it"
        await it.see_through()
        await ended_well(it, lax, strict, password=NEWER)


async def test_a_password_that_is_too_long_is_not_even_sent() -> None:
    bmc = AccountBmc()
    bmc.about = {"MinPasswordLength": 4, "MaxPasswordLength": 10}
    async with lab(bmc) as it:
        await it.rotate(NEW)
        await seen_to(it, lambda: it.machine("m0").unrotated is not None)
        trouble = it.machine("m0").unrotated
        assert trouble is not None
        assert trouble.fault == "password-refused"
        assert "4 to 10 characters" in trouble.message
        assert not bmc.count("PATCH", ACCOUNT)


async def test_a_bmc_that_says_yes_and_does_nothing_is_found_out_and_tried_later() -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        bmc.script("PATCH", ACCOUNT, ignored, times=9)
        await it.rotate(NEW)
        await seen_to(it, lambda: it.machine("m0").unrotated is not None)
        trouble = it.machine("m0").unrotated
        assert trouble is not None
        assert trouble.fault == "not-applied"
        assert bmc.refused_in_a_row == 1
        bmc._script.clear()
        it.ahead += it.ahead.__class__(minutes=10)
        await it.see_through()
        await ended_well(it, bmc)


async def test_a_login_that_is_refused_stops_after_two_tries_until_they_are_allowed() -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        right, bmc.password = bmc.password, "changed-by-hand"
        bmc.tokens.clear()
        await it.rotate(NEW)
        await seen_to(it, lambda: it.machine("m0").unrotated is not None)
        trouble = it.machine("m0").unrotated
        assert trouble is not None
        assert trouble.fault == "bad-credentials"
        assert bmc.refused_in_a_row == 2
        asked_so_far = bmc.count("POST", SESSIONS)
        it.ahead += it.ahead.__class__(days=3)
        await it.rotations.check()
        assert it.machine("m0").operation is None, "nobody tries again by themselves"
        assert bmc.count("POST", SESSIONS) == asked_so_far
        bmc.password = right
        await it.do(AllowLogins(machine=M0))
        await it.see_through()
        assert bmc.password == NEW
        assert bmc.refused_in_a_row == 2


async def test_three_machines_that_refuse_hold_the_rotation() -> None:
    bmcs = [AccountBmc() for _ in range(5)]
    async with lab(*bmcs) as it:
        for bmc in bmcs:
            bmc.policy = "PropertyValueError"
        await it.rotate(NEW)
        await seen_to(it, lambda: sum(m.unrotated is not None for m in it.machines()) == 3)
        for _ in range(3):
            await it.rotations.check()
        assert sum(m.unrotated is not None for m in it.machines()) == 3
        assert not any(m.operation for m in it.machines())


# -- machines that come and go ---------------------------------------------------------------


async def test_a_machine_in_maintenance_is_waited_for() -> None:
    bmcs = [AccountBmc(), AccountBmc()]
    async with lab(*bmcs) as it:
        cordon = CordonMachine(machine=M0, by=AccountId("ann"), reason="fan", maintenance=True)
        await it.do(cordon)
        await it.rotate(NEW)
        await seen_to(it, lambda: bmcs[1].password == NEW and not it.machine("m1").operation)
        assert it.credential().next_version, "it stays open"
        assert not bmcs[0].passwords
        await it.do(UncordonMachine(machine=M0, by=AccountId("ann")))
        await it.see_through()
        await ended_well(it, *bmcs)


async def test_a_machine_that_is_enrolled_meanwhile_is_taken_along() -> None:
    first, late = AccountBmc(), AccountBmc()
    await late.start()
    async with lab(first) as it:
        await it.rotate(NEW)
        await seen_to(it, lambda: first.password == NEW)
        await it.enrol("m1", late)
        await it.see_through()
        await ended_well(it, first, late)
    await late.stop()


async def test_a_machine_that_came_at_the_end_keeps_its_password_from_being_destroyed() -> None:
    first, late = AccountBmc(), AccountBmc()
    await late.start()
    async with lab(first) as it:
        before = it.credential().version
        await it.rotate(NEW)
        while it.credential().next_version:  # ended by what was known then
            await it.rotations.check()
            await anyio.sleep(0.01)
        await it.do(
            EnrolMachine(
                machine=MachineId("m1"), name="m1", bmc=Bmc(address=late.address, credential=LAB)
            )
        )
        await it.rotations.check()
        assert before not in it.destroyed, "the late one has it still"
        await it.see_through()
        assert late.password == NEW
        assert it.destroyed == [before]
    await late.stop()


async def test_a_machine_that_is_deleted_is_waited_for_no_more() -> None:
    away, here = AccountBmc(), AccountBmc()
    async with lab(here, away) as it:
        await away.stop()
        await it.rotate(NEW)
        await seen_to(it, lambda: here.password == NEW and not it.machine("m0").operation)
        gone = DeleteMachine(machine=MachineId("m1"), force=True, reason="burnt")
        await it.do(gone)
        await it.see_through()
        await ended_well(it, here)
        await away.start()


async def test_systems_of_one_bmc_are_one_change() -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        twin = Bmc(address=bmc.address, credential=LAB, system="two")
        await it.do(EnrolMachine(machine=MachineId("m1"), name="m1", bmc=twin))
        await it.rotate(NEW)
        await it.see_through()
        assert bmc.passwords == [NEW]
        assert bmc.refused_in_a_row == 0
        twins: list[Machine] = [it.machine("m0"), it.machine("m1")]
        assert {m.passwords for m in twins} == {(it.credential().version,)}


async def test_whoever_reads_a_machine_between_the_change_and_its_proof_gets_in() -> None:
    bmc = AccountBmc()
    bmc.ends_sessions = True
    async with lab(bmc) as it:
        client = await it.executors["b"].client_of(it.machine("m0"))
        await client.system()
        await it.rotate(NEW)
        bmc.password = NEW  # changed, and nobody knows yet
        bmc.tokens.clear()
        assert (await client.system()).body["Id"] == "one"
        assert bmc.refused_in_a_row == 1
        await client.close()


async def test_entity_tags_are_given_where_a_bmc_wants_them() -> None:
    bmc = AccountBmc()
    bmc.needs_etag = True
    async with lab(bmc) as it:
        await it.rotate(NEW)
        await it.see_through()
        await ended_well(it, bmc)
        assert bmc.count("PATCH", ACCOUNT) == 1


async def test_a_password_that_has_expired_is_changed_all_the_same() -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        bmc.tokens.clear()
        bmc.expired = True
        await it.rotate(NEW)
        await it.see_through()
        await ended_well(it, bmc)
        assert not bmc.expired


async def test_a_former_version_is_gone_for_good() -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        before = it.credential().version
        await it.rotate(NEW)
        await it.see_through()
        with pytest.raises(NotFound):
            await it.login(LAB, before)


async def seen_to(it: Lab, holds: Callable[[], bool]) -> None:
    """Have the rotation looked at until something holds."""
    with anyio.fail_after(20):
        while not holds():
            await it.rotations.check()
            await anyio.sleep(0.01)


async def asked(bmc: AccountBmc, method: str, path: str) -> None:
    with anyio.fail_after(10):
        while not bmc.count(method, path):
            await anyio.sleep(0.01)


def lost_with(bmc: AccountBmc, password: str, times: int) -> Behaviour:
    """Lose so many logins with a password, once another one was sent."""
    left = [drop(apply=False)] * times

    async def behave(request, proceed):  # type: ignore[no-untyped-def]
        known = (await request.json())["Password"] == password
        if known and left and bmc.count("PATCH", ACCOUNT):
            return await left.pop()(request, proceed)
        return await proceed()

    return behave


def held_back(bmc: AccountBmc, when: Callable[[], bool], method: str) -> anyio.Event:
    """Hold the BMC's next answers to ``method`` back once something holds; tell when."""
    seen = anyio.Event()

    async def behave(request, proceed):  # type: ignore[no-untyped-def]
        if not when():
            return await proceed()
        seen.set()
        await anyio.sleep(20)
        return await proceed()

    bmc.script(method, r"/redfish/v1/SessionService/Sessions/.*", behave, times=50)
    return seen
