"""What is wrong, told worst first with what to do; and how the parts of a region stand."""

from datetime import timedelta

import anyio
import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable

from mulligan.console.problems.page import ProblemsView
from mulligan.console.problems.remedies import action_for
from mulligan.console.projections.page import ProjectionsView, stores_shown
from mulligan.console.projections.shares import shares_of
from mulligan.console.source import Moment
from mulligan.console.theme import BAD, GOOD, WARN
from mulligan.diagnosis.checks import SERVICES, problems_of
from mulligan.diagnosis.found import Seen, Status
from mulligan.proto import v1
from tests.console.fakes import FakeSource
from tests.console.feeds import BEGAN, NODE, Stage, screen_text, settled


def endpoints(*more: v1.Endpoint) -> list[v1.Endpoint]:
    every = [v1.Endpoint(service=name, instance=f"{name}-1", version="1.0") for name in SERVICES]
    return [*every, *more]


def well(**parts: object) -> Status:
    facts: dict[str, object] = {"services": endpoints(), "region": "east", "at": BEGAN} | parts
    return Status(**facts)  # type: ignore[arg-type]


def failed(name: str = "node-1") -> v1.Machine:
    return v1.Machine(
        uuid=NODE.format(1),
        name=name,
        state=v1.MachineState.FAILED,
        failed_operation="deploy",
        fault=v1.Fault(fault="bmc_unreachable", message="no answer", step="power_on"),
    )


def late(hours: float) -> v1.Machine:
    return v1.Machine(
        uuid=NODE.format(2),
        name="node-2",
        state=v1.MachineState.CLEANING,
        operation=v1.Operation(
            verb="clean",
            step="power_off",
            step_number=1,
            steps=2,
            started_at=BEGAN - timedelta(hours=hours),
        ),
    )


def test_what_the_console_can_do_about_a_problem_is_offered() -> None:
    found = well(
        services=endpoints()[1:],
        projections=[
            v1.Projection(name="claims", status="halted", seq=7, problem="claim.made: no such"),
            v1.Projection(name="names", status="live", lag=900, lag_seconds=12),
        ],
        brakes=[v1.Brake(domain="r1", domain_name="rack-1", failed=4, total=10, window=600)],
        machines=[failed(), late(2)],
    )
    offered = {one.subject: action_for(one, found) for one in problems_of(found, BEGAN)}
    assert {name: one.verb for name, one in offered.items() if one is not None} == {
        "claims": "projection-retry", "rack-1": "brake-release", "node-1": "retry",
        "node-2": "abort",
    }  # fmt: skip
    assert offered["iam"] is None


def test_shares_are_those_that_the_instances_choose() -> None:
    services = endpoints(v1.Endpoint(service="control", instance="control-2"))
    machines = [NODE.format(n) for n in range(200)]
    shares = shares_of(services, machines)
    assert shares["control-1"] + shares["control-2"] == 200
    assert 60 < shares["control-2"] < 140
    assert shares["executor-1"] == 200


PROJECTOR = "projector/projector-1"


@pytest.fixture
def found() -> Status:
    return well(machines=[failed()])


async def test_the_page_offers_what_can_be_done_and_keeps_the_cursor(found: Status) -> None:
    async def look() -> Status:
        return found

    view = ProblemsView(FakeSource(), look)
    stage = Stage(view, view.source)
    async with stage.run_test(size=(120, 24)) as pilot:
        await settled(pilot, lambda: "1 problem" in screen_text(pilot), "the problem is told")
        assert "Retry node-1" in screen_text(pilot)
        await pilot.press("y", "h")
        await settled(pilot, lambda: len(stage.asked) == 2, "the page leads on")
        assert stage.asked == [
            ("why", f"machine/{NODE.format(1)}"), ("history", f"machine/{NODE.format(1)}"),
        ]  # fmt: skip
        found.brakes = [v1.Brake(domain="r1", domain_name="rack-1")]
        await view.renew()
        assert view.chosen is not None and view.chosen.subject == "node-1"
        found.machines, found.brakes = [], []
        await view.renew()
        await settled(pilot, lambda: "all is well" in screen_text(pilot), "it is well again")
        await pilot.press("a", "y")
        assert len(stage.asked) == 2


async def test_read_models_and_services_are_told_and_a_halted_one_can_be_retried() -> None:
    found = well(
        log=v1.LogStatus(
            head=v1.Position(region="east", seq=120),
            store_used_bytes=2**20,
            store_quota_bytes=2**22,
            store_bytes=2**21,
            first=40,
        ),
        archive=v1.ArchiveStatus(sealed=60, copied=119, segments=2, location="/archive"),
        projections=[
            v1.Projection(name="claims", version=2, status="halted", seq=7, problem="no such"),
            v1.Projection(
                name="iam", status="building", building_version=3, building_seq=5,
                building_target=10,
            ),
        ],
        instances=[Seen(v1.Instance(instance="projector-1", leads=["read-models"]), 0.0)],
    )  # fmt: skip

    async def look() -> Status:
        return found

    async def machines() -> list[str]:
        return [NODE.format(n) for n in range(10)]

    view = ProjectionsView(FakeSource(), look, machines)
    stage = Stage(view, view.source)
    async with stage.run_test(size=(140, 40)) as pilot:
        await settled(pilot, lambda: "halted: no such" in screen_text(pilot), "it is told")
        text = screen_text(pilot)
        assert "read models" in str(view.query_one("#services", DataTable).get_row(PROJECTOR)[5])
        for part in ("#120", "1 MiB in use of 4 MiB", "from #40 on", "sealed up to #60", "v3 ███"):
            assert part in text
        assert "of the present" not in text
        view.source.moment = Moment(5, BEGAN)
        await view._read()
        assert "of the present, not of the moment above" in screen_text(pilot)
        view.source.moment = None
        table = view.query_one("#services", DataTable)
        assert "10" in str(table.get_row("control/control-1")[4])
        await pressed(pilot, view)
        await settled(pilot, lambda: "Retry projection claims" in screen_text(pilot), "it asks")


async def pressed(pilot: Pilot[None], view: ProjectionsView) -> None:
    view.query_one("#projections", DataTable).focus()
    await pilot.press("a")


async def test_a_look_that_takes_long_is_not_cut_short_by_the_next() -> None:
    looks: list[anyio.Event] = []

    async def look() -> Status:
        looks.append(anyio.Event())
        await looks[-1].wait()
        return well()

    view = ProblemsView(FakeSource(), look)
    async with Stage(view, view.source).run_test(size=(120, 24)) as pilot:
        await settled(pilot, lambda: len(looks) == 1, "it looks")
        view._look_again()
        await pilot.pause()
        assert len(looks) == 1
        looks[0].set()
        await settled(pilot, lambda: "all is well" in screen_text(pilot), "the answer is shown")
        view._look_again()
        await settled(pilot, lambda: len(looks) == 2, "it looks again")
        looks[1].set()


async def test_rows_that_changed_places_keep_the_cursor_on_theirs() -> None:
    names = ["audit", "claims", "iam"]

    async def look() -> Status:
        listed = [v1.Projection(name=one, status="halted", problem="x") for one in names]
        return well(projections=listed)

    async def machines() -> list[str]:
        return []

    view = ProjectionsView(FakeSource(), look, machines)
    async with Stage(view, view.source).run_test(size=(120, 40)) as pilot:
        table = view.query_one("#projections", DataTable)
        await settled(pilot, lambda: table.row_count == 3, "they are told")
        table.move_cursor(row=2)
        names.reverse()
        await view._read()
        await pressed(pilot, view)
        await settled(pilot, lambda: "Retry projection iam" in screen_text(pilot), "it asks")


def test_etcd_fills_up_where_a_problem_begins() -> None:
    def tone(share: float) -> str:
        log = v1.LogStatus(store_used_bytes=round(share * 1000), store_quota_bytes=1000)
        shown = stores_shown(well(log=log), live=True)
        return next(
            str(one.style) for one in shown.spans if "█" in shown.plain[one.start : one.end]
        )

    assert [tone(one) for one in (0.59, 0.7, 0.84, 0.86)] == [GOOD, WARN, WARN, BAD]


async def test_without_a_projector_the_read_models_are_as_last_known() -> None:
    found = well(projections=[v1.Projection(name="claims", status="live", seq=7)])

    async def look() -> Status:
        return found

    async def machines() -> list[str]:
        return []

    view = ProjectionsView(FakeSource(), look, machines)
    async with Stage(view, view.source).run_test(size=(120, 40)) as pilot:
        await settled(pilot, lambda: "claims" in screen_text(pilot), "it is told")
        found.projections = []
        found.services = [one for one in found.services if one.service != "projector"]
        await view._read()
        await settled(pilot, lambda: "as last known" in screen_text(pilot), "it is said")
        assert "claims" in screen_text(pilot) and "no projector runs" in screen_text(pilot)
