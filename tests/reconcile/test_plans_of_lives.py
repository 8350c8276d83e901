"""The plan and the handlers agree, in whatever state a machine has come to."""

from random import Random

import pytest

from mulligan.handlers import brake
from mulligan.handlers.actions import RequestAction
from mulligan.handlers.completion import CompleteOperation, FailOperation
from mulligan.handlers.decision import Command
from mulligan.handlers.machine import Machine
from mulligan.handlers.upkeep import EnforcePower, UncordonMachine
from mulligan.model import CommitId, stream_id
from mulligan.reconcile import machine_plan
from mulligan.reconcile.machine_plan import (
    Complete,
    Enforce,
    Fail,
    Request,
    Rest,
    Uncordon,
    Wait,
)
from tests.handlers.machine_life import MOVES, SLOTS, Commit, Life

OFTEN = {"finish": 8, "ask": 16, "work": 24, "hold": 12, "claim": 8, "deploy": 8, "delete": 1}


def command(life: Life, machine: Machine, todo: machine_plan.Plan) -> Command | None:
    match todo:
        case Request(operation=operation, attempt=attempt):
            return RequestAction(
                machine=machine.id,
                operation=operation.id,
                action=life.given.action(),
                done=operation.done,
                attempt=attempt,
            )
        case Complete(operation=operation):
            return CompleteOperation(machine=machine.id, operation=operation.id)
        case Fail(operation=operation, fault=fault, message=message):
            return FailOperation(
                machine=machine.id,
                operation=operation.id,
                step=operation.step,
                fault=fault,
                message=message,
            )
        case Enforce():
            return EnforcePower(machine=machine.id, operation=CommitId(life.given.fresh("op")))
        case Uncordon():
            return UncordonMachine(machine=machine.id)
        case Rest() | Wait():
            return None


def planned(life: Life, machine: Machine) -> machine_plan.Plan:
    states = {s: life.given.states.get(s) for s in life.given.states}
    applied = brake.applied_to(states, machine.id)
    return machine_plan.plan(machine, life.given.now, "too much failed" if applied else "")


def check(life: Life, _: Commit) -> None:
    """Whatever is planned changes something, or reconcilers would plan it for ever."""
    for machine in life.machines().values():
        todo = planned(life, machine)
        wish = command(life, machine, todo)
        if wish is not None:
            assert life.given.decide(wish), (todo, machine)
        elif isinstance(todo, Wait):
            assert todo.until > life.given.now and todo.reason
            assert machine_plan.waiting_for(machine, "a brake") or machine.cordon
        else:
            assert machine.operation is None, "who is busy is waited for or seen to"


@pytest.mark.parametrize("seed", range(6))
def test_what_is_planned_is_never_in_vain_and_the_busy_never_rest(seed: int) -> None:
    rng = Random(seed)
    life = Life(check)
    for slot in SLOTS:
        life.prepare(slot, rng.randrange(6))
    names = rng.choices(list(MOVES), [OFTEN.get(name, 2) for name in MOVES], k=250)
    for name in names:
        MOVES[name](life, rng.choice(SLOTS), rng.randrange(8))
    assert stream_id("provider", "rack") in life.given.states


@pytest.mark.parametrize("seed", range(6))
def test_an_operation_that_goes_well_comes_to_its_end_by_the_plan_alone(seed: int) -> None:
    rng = Random(seed)
    life = Life()
    names = rng.choices(list(MOVES), [OFTEN.get(name, 2) for name in MOVES], k=150)
    for name in names:
        MOVES[name](life, rng.choice(SLOTS), rng.randrange(8))
    for slot in SLOTS:
        life.uncordon(slot, 0)
        follow(life, slot)
        machine = life.given.machine(life.machine(slot))
        assert machine.operation is None or machine.deleted


def follow(life: Life, slot: str) -> None:
    """Do what is planned, and what executors and machines do, for a hundred rounds at most."""
    for _ in range(100):
        machine = life.given.machine(life.machine(slot))
        if machine.operation is None or machine.deleted:
            return
        todo = planned(life, machine)
        wish = command(life, machine, todo)
        if wish is not None:
            life.attempt(wish)
        else:
            before = life.given.states[stream_id("machine", machine.id)]
            life.work(slot, 0)
            if before == life.given.states[stream_id("machine", machine.id)]:
                assert isinstance(todo, Wait)
                life.given.now = todo.until
