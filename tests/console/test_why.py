"""Why-chains: of machines and claims, as trees whose steps lead to their entries."""

from typing import Any, cast

from textual.app import ComposeResult
from textual.widgets import Static, Tree

from mulligan.console.why import Chain, Step, WhyScreen, claim_chain, machine_chain, named
from mulligan.proto import v1
from tests.console.fakes import FakeSource
from tests.console.feeds import ANN, BEGAN, Stage, screen_text, settled


def cause(seq: int, what: str, detail: str = "") -> v1.Cause:
    return v1.Cause(
        at=BEGAN,
        position=v1.Position(region="east", seq=seq),
        actor=ANN,
        what=what,
        detail=detail,
    )


def test_a_machines_chain_ends_with_what_is_waited_for() -> None:
    why = v1.WhyMachineResponse(
        summary="node-1 is deploying.",
        waiting_for="its BMC",
        chain=[cause(4, "deploy began", "steps: check"), cause(7, "came out as fatal")],
    )
    chain = machine_chain(why)
    assert [(step.what, step.seq) for step in chain.steps] == [
        ("deploy began", 4), ("came out as fatal", 7), ("waiting for its BMC", 0),
    ]  # fmt: skip
    assert machine_chain(v1.WhyMachineResponse()).steps[-1].what == "it rests"


def test_a_claims_chain_tells_what_was_asked_searched_dropped_and_taken() -> None:
    group = v1.RequestGroup(
        count=2,
        resources={"memory": 2**36},
        capabilities=v1.CapabilityFilter(require=["gpu"], forbid=["old"]),
    )
    answer = v1.ExplainClaimResponse(
        claim=v1.Claim(
            allocations=[v1.Allocation(provider_name="node-1", amounts={"memory": 2**36})]
        ),
        request=v1.ResourceRequest(groups=[group]),
        searched_at=v1.Position(region="east", seq=9),
        policy="pack",
        seed=5,
        considered=40,
        stages=[v1.StageCount(stage="capacity", providers=38)],
        rejected=["node-2"],
        candidate=v1.Candidate(),
        same=True,
    )
    steps = {step.what: step for step in claim_chain(answer).steps}
    assert steps["asked for"].details == ("2 x memory=64GiB +gpu -old",)
    assert steps["searched"].seq == 9 and "policy pack, seed 5" in steps["searched"].told
    assert steps["providers dropped, by stage"].details == ("capacity: 38",)
    assert steps["taken by others meanwhile"].details == ("node-2",)
    assert steps["took"].details == ("node-1: memory=64GiB",)
    assert "the same search finds the same there" in steps


def test_a_claim_that_named_its_providers_has_no_search() -> None:
    answer = v1.ExplainClaimResponse(claim=v1.Claim(), text="nothing was searched")
    assert [step.what for step in claim_chain(answer).steps] == ["took"]


def test_uuids_are_told_by_name() -> None:
    chain = Chain(f"held by claim {ANN}", (Step("deploy began", f"12:00  {ANN}"),))
    assert named(chain, {ANN: "ann"}) == Chain(
        "held by claim ann", (Step("deploy began", "12:00  ann"),)
    )


class _Names:
    async def describe(self, uuids: Any) -> dict[str, v1.Name]:
        return {ANN: v1.Name(name="ann")} if ANN in set(uuids) else {}


class _Control:
    async def why_machine(self, request: Any, timeout: float) -> v1.WhyMachineResponse:
        return v1.WhyMachineResponse(
            summary="node-1 is active.", chain=[cause(4, "deploy began"), cause(9, "came out")]
        )


class _Client:
    names, control = _Names(), _Control()


class _Background(Static):
    def compose(self) -> ComposeResult:
        return []


async def test_a_step_leads_to_its_entry_in_the_log() -> None:
    source = FakeSource()
    source.client = source._present = cast(Any, _Client())
    stage = Stage(_Background(), source)
    async with stage.run_test(size=(120, 30)) as pilot:
        await stage.push_screen(WhyScreen(source, f"machine/{ANN}"))
        tree = stage.screen.query_one(Tree)
        await settled(pilot, lambda: tree.cursor_line == 2, "the cursor is where it rests")
        assert "deploy began" in screen_text(pilot) and " ann" in screen_text(pilot)
        await pilot.press("up", "enter")
        await settled(pilot, lambda: stage.asked, "the entry is asked for")
        assert stage.asked == [("entry", 9)]
