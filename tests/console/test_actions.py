"""Actions: which are offered, how they are confirmed, and what is told of them."""

from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest
from textual.widgets import Static

from mulligan.console.actions.confirm import ConfirmScreen
from mulligan.console.actions.offered import (
    Action,
    actions_for,
    actions_for_claim,
    follow,
    perform,
    release_brake,
)
from mulligan.console.brief import MachineBrief
from mulligan.console.links import Act, ChooseAction
from mulligan.console.source import Moment
from mulligan.errors import DeadlineExceeded, FailedPrecondition, MulliganError, Unavailable
from mulligan.handlers.lifecycle import ALLOWED
from mulligan.proto import v1
from tests.console.fakes import FakeSource
from tests.console.feeds import BEGAN, NODE, Stage, screen_text, settled

STATES = (
    "enrolled", "inspecting", "manageable", "cleaning", "available", "deploying", "active",
    "rescuing", "rescue", "restoring", "retired",
    *(f"failed({verb})" for verb in ("inspect", "adopt", "clean", "deploy", "rescue", "restore")),
)  # fmt: skip


def machine(condition: str = "active", **more: Any) -> MachineBrief:
    state, _, failed = condition.rstrip(")").partition("(")
    facts = {"power": "on"} | more
    return MachineBrief(uuid=NODE.format(1), name="node-1", state=state, failed=failed, **facts)


def verbs(one: MachineBrief) -> set[str]:
    return {action.verb for action in actions_for(one)}


@pytest.mark.parametrize("condition", STATES)
def test_what_is_offered_at_rest_is_what_the_services_allow(condition: str) -> None:
    offered = verbs(machine(condition))
    assert ("retry" in offered) == (condition in ALLOWED["retry"])
    assert ("release" in offered) == (condition in ALLOWED["release"])
    assert ("retire" in offered) == (condition in ALLOWED["retire"])
    assert ("power-off" in offered) == (condition in ALLOWED["power"])


def test_a_busy_machine_can_be_aborted_and_nothing_else_is_begun() -> None:
    busy = machine("deploying", operation="deploy: insert_media 5/9")
    assert verbs(busy) == {"abort", "cordon"}
    assert verbs(machine("restoring", operation="restore: boot 1/2")) == {"cordon"}
    assert verbs(machine("active", operation="power: power_off 1/1")) == {"abort", "cordon"}


def test_power_and_cordons_are_offered_by_how_they_are() -> None:
    assert {"power-off", "power-cycle"} <= verbs(machine()) and "power-on" not in verbs(machine())
    off = verbs(machine(power="off"))
    assert "power-on" in off and "power-off" not in off
    assert "uncordon" in verbs(machine(cordon="maintenance"))
    keys = [action.key for action in actions_for(machine(power="unknown"))]
    assert len(keys) == len(set(keys))


def test_a_claim_is_given_back_or_extended_while_it_is_not_over() -> None:
    end = BEGAN + timedelta(days=1)
    found = actions_for_claim(NODE.format(2), "web", "active", end, 2)
    assert [(one.verb, one.end) for one in found] == [
        ("claim-release", None), ("claim-extend", end + timedelta(hours=1)),
        ("claim-extend", end + timedelta(days=1)),
    ]  # fmt: skip
    assert len(actions_for_claim(NODE.format(2), "web", "active", None, 1)) == 1
    assert actions_for_claim(NODE.format(2), "web", "released", end, 1) == []


class FakeControl:
    """Answers as a service does; ``refusal`` is why it does not."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.looks = 0
        self.refusal = ""
        self.hitches: list[MulliganError] = []

    async def power_machine(self, request: Any, timeout: float) -> v1.MachineResponse:
        self.asked.append(request)
        if self.refusal:
            raise FailedPrecondition(self.refusal)
        return v1.MachineResponse(position=v1.Position(region="east", seq=77))

    async def release_brake(self, request: Any, timeout: float) -> v1.PositionResponse:
        self.asked.append(request)
        return v1.PositionResponse(position=v1.Position(region="east", seq=78))

    async def cordon_machine(self, request: Any, timeout: float) -> v1.MachineResponse:
        self.asked.append(request)
        return v1.MachineResponse()

    retire_machine = cordon_machine

    async def get_machine(self, request: Any, timeout: float) -> v1.MachineResponse:
        if self.hitches:
            raise self.hitches.pop()
        self.looks += 1
        under_way = v1.Operation(verb="power", step="power_off", step_number=1, steps=1)
        return v1.MachineResponse(
            machine=v1.Machine(
                uuid=NODE.format(1),
                state=v1.MachineState.ACTIVE,
                power=v1.PowerStatus(observed="off"),
                operation=under_way if self.looks == 1 else None,
            )
        )


class FakeClient:
    def __init__(self) -> None:
        self.control = FakeControl()


def power_off() -> Action:
    return next(one for one in actions_for(machine()) if one.verb == "power-off")


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def stage(client: FakeClient) -> Stage:
    source = FakeSource()
    source.client = source._present = cast(Any, client)
    return Stage(Static("below"), source)


async def test_a_repeated_action_is_the_same_request(client: FakeClient) -> None:
    action = power_off()
    await perform(action, cast(Any, client))
    await perform(action, cast(Any, client))
    first, second = client.control.asked
    assert first.request_id == second.request_id == action.request_id
    assert power_off().request_id != action.request_id


async def test_it_is_done_after_it_was_confirmed_and_followed_to_its_end(
    stage: Stage, client: FakeClient
) -> None:
    async with stage.run_test(size=(100, 30)) as pilot:
        stage.post_message(Act(power_off()))
        await settled(pilot, lambda: isinstance(stage.screen, ConfirmScreen), "it is asked")
        for part in ("Power off node-1", NODE.format(1), "loses what is not written"):
            assert part in screen_text(pilot)
        assert not client.control.asked
        await pilot.press("y")
        await settled(pilot, lambda: len(stage.told) == 3, "it is followed")
    assert stage.told == [
        "Power off node-1: asked for", "power: power_off 1/1", "node-1 is active, power off",
    ]  # fmt: skip


async def test_a_disruptive_action_is_not_a_mere_enter_away(
    stage: Stage, client: FakeClient
) -> None:
    async with stage.run_test(size=(100, 30)) as pilot:
        stage.post_message(Act(power_off()))
        await settled(pilot, lambda: isinstance(stage.screen, ConfirmScreen), "it is asked")
        await pilot.press("enter")
        await settled(pilot, lambda: not isinstance(stage.screen, ConfirmScreen), "it is left")
    assert client.control.asked == []


async def test_a_reason_is_asked_for_and_goes_with_the_action(
    stage: Stage, client: FakeClient
) -> None:
    async with stage.run_test(size=(100, 30)) as pilot:
        stage.post_message(Act(release_brake(NODE.format(3), "rack-1")))
        await settled(pilot, lambda: isinstance(stage.screen, ConfirmScreen), "it is asked")
        assert "why it is safe to go on" in screen_text(pilot)
        await pilot.press("enter", "enter")
        assert isinstance(stage.screen, ConfirmScreen), "without a reason it goes no further"
        await pilot.press(*"why", "space", *"not", "enter", "y")
        await settled(pilot, lambda: client.control.asked, "it is done")
    (asked,) = client.control.asked
    assert (asked.domain, asked.reason) == (NODE.format(3), "why not")


async def test_with_a_reason_a_disruptive_action_is_still_no_mere_enter_away(
    stage: Stage, client: FakeClient
) -> None:
    retire = next(one for one in actions_for(machine("available")) if one.verb == "retire")
    async with stage.run_test(size=(100, 30)) as pilot:
        stage.post_message(Act(retire))
        await settled(pilot, lambda: isinstance(stage.screen, ConfirmScreen), "it is asked")
        await pilot.press(*"old", "enter", "enter")
        await settled(pilot, lambda: not isinstance(stage.screen, ConfirmScreen), "it is left")
    assert client.control.asked == []


async def test_cordons_and_retirements_carry_their_reasons(client: FakeClient) -> None:
    for verb in ("cordon", "retire"):
        action = next(one for one in actions_for(machine("available")) if one.verb == verb)
        assert action.wants_reason
        await perform(msgspec.structs.replace(action, reason="fan"), cast(Any, client))
    assert [one.reason for one in client.control.asked] == ["fan", "fan"]


async def test_a_refusal_is_told_with_the_services_reason(stage: Stage, client: FakeClient) -> None:
    client.control.refusal = "machine node-1 is cleaning; to power it, it must be active"
    async with stage.run_test(size=(100, 30)) as pilot:
        stage.post_message(ChooseAction("node-1", actions_for(machine())))
        await pilot.pause()
        await pilot.press("f")
        await settled(pilot, lambda: isinstance(stage.screen, ConfirmScreen), "it is asked")
        await pilot.press("y")
        await settled(pilot, lambda: stage.told, "it is told")
    assert stage.told == [client.control.refusal]


async def test_nothing_is_done_in_the_past(stage: Stage, client: FakeClient) -> None:
    stage.source.moment = Moment(5, BEGAN)
    async with stage.run_test(size=(100, 30)) as pilot:
        stage.post_message(Act(power_off()))
        stage.post_message(ChooseAction("node-1", actions_for(machine())))
        await settled(pilot, lambda: len(stage.told) == 2, "both are refused")
        assert all("l goes back to now" in one for one in stage.told)
    assert client.control.asked == []


def test_an_action_is_a_value_that_can_be_kept() -> None:
    action = power_off()
    assert msgspec.structs.replace(action) == action


async def test_a_service_that_starts_again_does_not_end_following(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mulligan.console.actions.offered.LAST_LOOK_S", 0.01)
    client.control.hitches = [Unavailable("gone"), DeadlineExceeded("slow")]
    outcome = await follow(power_off(), cast(Any, client), lambda text: None)
    assert outcome.well and not client.control.hitches
