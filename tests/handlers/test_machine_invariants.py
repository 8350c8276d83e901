"""What holds of machines whatever is asked of them, whatever fails, in whatever order."""

from collections import Counter
from datetime import timedelta
from random import Random
from typing import get_args

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mulligan.events import machine as ev
from mulligan.events.provider import ProviderCordoned
from mulligan.handlers import deployment, provider, serial, usage
from mulligan.handlers import operations as ops
from mulligan.handlers.brake import Brake, brake_stream
from mulligan.handlers.claim import LIVE
from mulligan.handlers.claim_changes import MoveClaim
from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim
from mulligan.handlers.completion import CompleteOperation
from mulligan.handlers.decision import Command
from mulligan.handlers.machine import Machine
from mulligan.handlers.operation import DURING, State
from mulligan.handlers.upkeep import ENFORCE_EVERY, EnforcePower, ReinstateMachine, RetireMachine
from mulligan.model import ProviderId

from .given import MACHINE
from .machine_life import MOVES, RACK, SLOTS, Commit, Life

HELD = {"deploying", "active", "rescuing", "rescue", "restoring"}
HELD_FAILED = {"deploy", "rescue", "restore"}

LEAVES_FAILED: tuple[type[Command], ...] = (
    ops.InspectMachine, ops.AdoptMachine, ops.ManageMachine, ops.RetryMachine,
    deployment.DeployMachine, deployment.RescueMachine, deployment.RestoreMachine,
    deployment.ReleaseMachine, RetireMachine, ReleaseClaim, EndClaim, MoveClaim,
)  # fmt: skip
"""Everything that moves a failed machine: what people ask for, and the end of its claim."""

SWITCHES: tuple[type[Command], ...] = (
    *LEAVES_FAILED, ops.PowerMachine, ops.ProvideMachine, EnforcePower,
)  # fmt: skip


def holds(machine: Machine) -> bool:
    return machine.state in HELD or machine.failed in HELD_FAILED


def check_the_holder(life: Life, machine: Machine) -> None:
    """A machine that is in use is held by a claim that is live, or ended and kept; no other is."""
    assert bool(machine.claim) == holds(machine), machine.state
    if not machine.claim:
        assert not machine.project
        return
    claim = life.claim_of(machine)
    assert claim.project == machine.project
    if claim.state in LIVE:
        assert ProviderId(machine.id) in {h.provider for h in claim.held}
    else:
        assert (claim.state, claim.on_end) == ("ended", "keep_power_off")
        assert "kept" in life.given.provider(machine.id).cordons


def check_the_pool(life: Life, machine: Machine) -> None:
    """Only a machine that is clean or held takes claims."""
    held = life.given.provider(machine.id)
    if held.cordons:
        return
    assert machine.state == "available" or holds(machine), machine.state
    assert machine.claim or not machine.unwiped
    chassis = serial.serial_stream(machine.facts)
    assert not serial.is_abandoned(life.given.states, chassis)


def check_the_chassis(life: Life, machine: Machine) -> None:
    """One chassis is one machine, and what was abandoned is not used until it is clean."""
    chassis = serial.serial_stream(machine.facts)
    if chassis is None:
        return
    assert life.given.states[chassis].machine == machine.id
    if serial.is_abandoned(life.given.states, chassis):
        assert machine.unwiped
        assert machine.state not in {*HELD, "available"}


def check_the_operation(life: Life, machine: Machine) -> None:
    """Whatever moves has a deadline, and nothing stands in a passing state without moving."""
    operation = machine.operation
    passing = machine.state in set(DURING.values())
    assert passing == (operation is not None and operation.verb != "power")
    if operation is not None:
        assert operation.deadline > operation.started_at
        assert operation.deadline - operation.started_at <= timedelta(hours=24)
    assert (machine.state == "failed") == bool(machine.failed)


def check_capacity(life: Life, machine: Machine) -> None:
    held = life.given.provider(machine.id)
    used = usage.peak(held.use.get(MACHINE, ()), life.given.now, None)
    assert used <= provider.capacity(held.inventories.get(MACHINE))
    assert not used or machine.state != "retired"


def check_what_was_done(life: Life, commit: Commit) -> None:
    for stream, event in commit.changes:
        before = commit.before.get(stream.partition("/")[2])
        if before is None:
            continue
        match event:
            case ev.OperationStarted(cause="desired-power"):
                check_enforced(before, event, life)
            case ev.OperationStarted():
                assert isinstance(commit.command, SWITCHES)
            case ev.ActionRequested():
                check_requested(life, before, event)
            case ev.OperationCompleted() if before.operation and before.operation.verb == "clean":
                assert not commit.after[before.id].unwiped
            case _:
                pass


def check_enforced(before: Machine, event: ev.OperationStarted, life: Life) -> None:
    """Power is enforced where that was asked for, known to be other, and not again and again."""
    assert before.desired and before.power in {"on", "off"} and before.power != before.desired
    assert event.target == before.desired
    last = before.enforced_at
    assert last is None or life.given.now - last >= ENFORCE_EVERY


def check_requested(life: Life, before: Machine, event: ev.ActionRequested) -> None:
    """Maintenance stops every action, a brake those that change something."""
    assert before.cordon is None or not before.cordon.maintenance
    domain: Brake | None = life.given.states.get(brake_stream(RACK))
    braked = domain is not None and domain.applied is not None
    assert event.mode == "observe" or not braked


def check_failures(commit: Commit) -> None:
    """A failed machine stays failed until somebody asks for something else."""
    for key, before in commit.before.items():
        after = commit.after.get(key)
        if before.state == "failed" and after is not None and after.state != "failed":
            assert isinstance(commit.command, LEAVES_FAILED), commit.command


def check_the_way_to_the_pool(commit: Commit) -> None:
    for key, after in commit.after.items():
        before = commit.before.get(key)
        if before is not None and before.state != after.state == "available":
            assert before.state == "cleaning"
            assert isinstance(commit.command, CompleteOperation)


def check(life: Life, commit: Commit) -> None:
    check_failures(commit)
    check_the_way_to_the_pool(commit)
    check_what_was_done(life, commit)
    for machine in commit.after.values():
        check_the_holder(life, machine)
        check_the_pool(life, machine)
        check_the_chassis(life, machine)
        check_the_operation(life, machine)
        check_capacity(life, machine)


Move = tuple[str, str, int]


def live(starts: tuple[int, ...], moves: list[Move]) -> Life:
    """Live through the moves, and check what holds after every commit."""
    life = Life(check)
    for slot, upto in zip(SLOTS, starts, strict=True):
        life.prepare(slot, upto)
    for name, slot, n in moves:
        MOVES[name](life, slot, n)
    return life


MOVE = st.tuples(st.sampled_from(sorted(MOVES)), st.sampled_from(SLOTS), st.integers(0, 7))


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(0, 5), st.integers(0, 5)), st.lists(MOVE, max_size=25))
@example((4, 0), [("delete", "left", 0), ("ask", "left", 2), ("finish", "left", 0)])
@example((4, 2), [("move", "left", 0), ("fail", "left", 0), ("ask", "left", 3)])
def test_the_invariants_hold_in_any_order_of_wishes_failures_and_ends(
    starts: tuple[int, ...], moves: list[Move]
) -> None:
    live(starts, moves)


OFTEN = {
    "finish": 24,
    "ask": 16,
    "hold": 12,
    "claim": 8,
    "deploy": 8,
    "uncordon": 6,
    "move": 8,
    "wait": 8,
    "delete": 1,
}


def random_life(seed: int, length: int) -> Life:
    rng = Random(seed)
    weights = [OFTEN.get(name, 2) for name in MOVES]
    names = rng.choices(list(MOVES), weights, k=length)
    moves = [(name, rng.choice(SLOTS), rng.randrange(8)) for name in names]
    return live((rng.randrange(6), rng.randrange(6)), moves)


def test_the_invariants_hold_through_long_lives_that_come_to_every_state() -> None:
    lives = [random_life(seed, 500) for seed in range(16)]
    commits = [commit for life in lives for commit in life.commits]
    states = Counter(m.state for commit in commits for m in commit.after.values())
    assert states.keys() == set(get_args(State)), "or the lives prove nothing of the others"
    did = {type(c.command) for c in commits if c.changes}
    asked: set[type[Command]] = {*SWITCHES, ReinstateMachine}
    assert asked <= did
    events = [change.event for commit in commits for change in commit.changes]
    assert {"SerialAbandoned", "SerialCleaned", "BrakeApplied"} <= {
        type(e).__name__ for e in events
    }
    assert "kept" in {e.cause for e in events if isinstance(e, ProviderCordoned)}
