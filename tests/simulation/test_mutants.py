"""Every check can fail: broken parts, given to the simulated region, are found out."""

from typing import Any

import pytest
from msgspec.structs import replace

from mulligan.log.memory import Faults

from .mutants import (
    ForgetfulCommands,
    GenerousCommands,
    HastyLog,
    LawlessLog,
    RashLog,
    RepeatingExecutor,
)
from .plan import plan
from .run import Failed, simulate
from .world import Make

WITHIN = 40

Draw = dict[str, Any]
CLAIMS: Draw = {"machines": 0, "rotates": False, "tenants": False, "crowd": 4, "capacity": 2}
MACHINES: Draw = {
    "machines": 2, "rotates": False, "tenants": False, "crowd": 0, "lives": "cycle",
    "bmc_trouble": 0.0, "bmc_pace": 1.5, "befalls": {}, "deadly": 0.3, "horizon": 60.0,
}  # fmt: skip
LOSSES: Draw = {
    **CLAIMS, "faults": Faults(lost_ack=0.4), "befalls": {"cut": 3.0}, "latency": 0.02
}  # fmt: skip

MUTANTS: dict[str, tuple[Make, Draw]] = {
    "appends what was decided on an older state": (Make(log=RashLog.open), CLAIMS),
    "acknowledges before it has written": (Make(log=HastyLog.open), CLAIMS),
    "forgets the fences": (Make(log=LawlessLog.open), MACHINES),
    "decides again without a look": (Make(commands=ForgetfulCommands), LOSSES),
    "gives away what is taken": (Make(commands=GenerousCommands), CLAIMS),
    "repeats a step of a dead executor": (Make(executor=RepeatingExecutor), MACHINES),
    "folds without the checkpoint's fence": (Make(fenced=False), CLAIMS),
}


def caught(make: Make, draw: Draw) -> Failed:
    """Return the first failure among some seeds, of worlds in which the part matters."""
    for seed in range(WITHIN):
        try:
            simulate(seed, make, replace(plan(seed), **draw))
        except Failed as failed:
            return failed
    raise AssertionError(f"not caught within {WITHIN} seeds")


@pytest.mark.parametrize("fault", MUTANTS)
def test_a_region_of_which_a_part_is_broken_is_found_out(fault: str) -> None:
    assert caught(*MUTANTS[fault]).problems


def test_the_same_worlds_are_well_without_them() -> None:
    for draw in (CLAIMS, MACHINES, LOSSES):
        simulate(0, drawn=replace(plan(0), **draw))
