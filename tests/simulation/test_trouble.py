"""Trouble ends; what clients want does not end with it, and what they gave up is not promised."""

from msgspec.structs import replace

from mulligan.handlers.enrolment import EnrolMachine
from mulligan.handlers.rotation import StartRotation
from mulligan.log.memory import Faults

from .clients import Asked
from .plan import plan
from .run import simulate
from .world import World

SEED = 1
HORIZON = 20.0


def world_whose_log_is_away_until_the_trouble_ends() -> World:
    drawn = replace(
        plan(SEED), machines=1, lives="cycle", crowd=0, tenants=False, rotates=True, befalls={},
        faults=Faults(seed=SEED, unavailable=1.0), bmc_trouble=0.0, deadly=0.0, horizon=HORIZON,
    )  # fmt: skip
    return simulate(SEED, drawn=drawn)


def test_a_client_that_insists_outlasts_the_trouble_and_one_that_gives_up_promises_nothing() -> (
    None
):
    world = world_whose_log_is_away_until_the_trouble_ends()
    asked: dict[type, Asked] = {type(one.command): one for one in world.history}
    enrolment, rotation = asked[EnrolMachine], asked[StartRotation]
    assert (enrolment.result, enrolment.until > HORIZON * 2) == ("acked", True)
    assert rotation.result == "unknown"
    assert (world.bmcs["bmc-0"].password, world.secrets.lost) == ("first-password", [])
