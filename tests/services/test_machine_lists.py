"""Finding machines by what they are, and what one can learn of their past."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

import pytest
from grpclib import Status

from mulligan.proto import v1
from tests.e2e.fleet import CREDENTIAL, rests
from tests.services.conftest import Tokens
from tests.services.edge import Edge, refusal
from tests.services.yard import Yard, exact

ABSENT = "018f0000-0000-7000-8000-000000000000"


class Lists(NamedTuple):
    """Lists as somebody sees them, with all that is in the log when asked."""

    edge: Edge
    token: str

    async def fresh(self) -> v1.Freshness:
        status = await self.edge.call("log.get_log_status", v1.GetLogStatusRequest(), self.token)
        return v1.Freshness(at_least=status.head)

    async def machines(self, **wanted: Any) -> list[str]:
        asked = v1.ListMachinesRequest(freshness=await self.fresh(), **wanted)
        listed = await self.edge.call("control.list_machines", asked, self.token)
        return sorted(one.name for one in listed.machines)

    async def history(
        self, machine: str, *, size: int = 100, token: str = ""
    ) -> v1.ListMachineHistoryResponse:
        asked = v1.ListMachineHistoryRequest(
            machine=machine, page=v1.Page(size=size, token=token), freshness=await self.fresh()
        )
        found: v1.ListMachineHistoryResponse = await self.edge.call(
            "control.list_machine_history", asked, self.token
        )
        return found

    async def actions(self, machine: str) -> list[v1.Action]:
        asked = v1.ListActionsRequest(machine=machine, freshness=await self.fresh())
        listed = await self.edge.call("control.list_actions", asked, self.token)
        actions: list[v1.Action] = listed.actions
        return actions


@pytest.fixture
def admin(edge: Edge, tokens: Tokens) -> Lists:
    return Lists(edge, tokens.admin)


@pytest.fixture(scope="module")
async def site(edge: Edge, tokens: Tokens, yard: Yard) -> None:
    """Machines in two racks of one row, beside a third rack elsewhere; nobody asks their BMCs."""
    for name, parent in (("row", ""), ("rack-1", "row"), ("rack-2", "row"), ("rack-3", "")):
        made = v1.CreateProviderRequest(name=name, type="component", parent=parent)
        await edge.call("resource.create_provider", made, tokens.admin)
    for name, rack in (
        ("s_a", "rack-1"),
        ("S.A", "rack-2"),
        ("sxa", "rack-2"),
        ("s_ab", "rack-3"),
    ):
        bmc = v1.Bmc(address=f"https://list-{name}.invalid".lower(), credential=CREDENTIAL)
        asked = v1.EnrollMachineRequest(name=name, bmc=bmc, parent=rack)
        await edge.call("control.enroll_machine", asked, tokens.admin)


@pytest.mark.parametrize(
    ("under", "names"),
    [
        ("row", ["S.A", "s_a", "sxa"]),
        ("rack-1", ["s_a"]),
        ("rack-2", ["S.A", "sxa"]),
        ("rack-3", ["s_ab"]),
    ],
)
async def test_machines_are_found_under_a_provider_at_any_depth(
    admin: Lists, site: None, under: str, names: list[str]
) -> None:
    assert await admin.machines(under=under) == names


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("s_a", ["s_a"]),
        ("S_A*", ["s_a", "s_ab"]),
        ("s*a", ["S.A", "s_a", "sxa"]),
        ("*_a*", ["s_a", "s_ab"]),
        ("s?a", []),
        ("s%a", []),
        ("%", []),
        ("s\\_a", []),
        ("s", []),
    ],
)
async def test_names_are_compared_as_a_whole_with_stars_alone_for_anything(
    admin: Lists, site: None, pattern: str, names: list[str]
) -> None:
    found = set(await admin.machines(under="row", name=pattern))
    found |= set(await admin.machines(under="rack-3", name=pattern))
    assert sorted(found) == names


async def test_machines_are_found_by_what_their_hardware_is(admin: Lists, yard: Yard) -> None:
    (name,) = await yard.manageable()
    facts = (await yard.machine(name)).facts
    assert facts is not None and facts.manufacturer
    start = facts.manufacturer[:4]
    assert name in await admin.machines(manufacturer=f"{start.upper()}*")
    assert name in await admin.machines(model=facts.model or "*")
    for wanted in (
        {"manufacturer": start},
        {"manufacturer": f"{start}%"},
        {"manufacturer": "_" * len(facts.manufacturer)},
        {"manufacturer": f"{start}*", "model": "nothing of the kind"},
        {"manufacturer": f"{start}*", "states": [v1.MachineState.ENROLLED]},
    ):
        assert name not in await admin.machines(**wanted)


@pytest.mark.parametrize(
    ("wanted", "status", "fields"),
    [
        ({"health": "good"}, Status.INVALID_ARGUMENT, ("health",)),
        ({"states": [v1.MachineState.UNSPECIFIED]}, Status.INVALID_ARGUMENT, ("states",)),
        ({"page": v1.Page(size=1001)}, Status.INVALID_ARGUMENT, ("page.size",)),
        ({"page": v1.Page(token="!")}, Status.INVALID_ARGUMENT, ("page.token",)),
        ({"under": "no-such-rack"}, Status.NOT_FOUND, ()),
    ],
)
async def test_a_list_that_makes_no_sense_is_refused(
    admin: Lists, wanted: dict[str, Any], status: Status, fields: tuple[str, ...]
) -> None:
    asked = v1.ListMachinesRequest(**wanted)
    refused = await refusal(admin.edge.call("control.list_machines", asked, admin.token))
    assert (refused.status, refused.fields) == (status, fields)


async def test_a_list_of_nothing_is_empty(admin: Lists) -> None:
    assert await admin.machines(under=ABSENT) == []
    assert await admin.machines(name="nobody*") == []


async def test_a_history_is_read_page_by_page_from_its_newest_end(admin: Lists, yard: Yard) -> None:
    (name,) = await yard.manageable()
    whole = (await admin.history(name)).causes
    assert len(whole) > 6
    assert whole[-1].what == "enrolled"
    assert yard.fleet.emulator.address in whole[-1].detail
    assert "inspect began" in [cause.what for cause in whole]
    places = [cause.position.seq for cause in whole if cause.position is not None]
    assert places == sorted(places, reverse=True)
    for size in (1, 3, len(whole)):
        read: list[v1.Cause] = []
        token = ""
        while True:
            page = await admin.history(name, size=size, token=token)
            assert 0 < len(page.causes) <= size
            read += page.causes
            token = page.next_page_token
            if not token:
                break
        assert read == whole


@pytest.mark.parametrize("token", ["x", "-1", "1.5", "99999999999999", "\u0661\u0662", "1 "])
async def test_a_page_of_a_history_that_never_was_is_refused(
    admin: Lists, site: None, token: str
) -> None:
    asked = v1.ListMachineHistoryRequest(machine="sxa", page=v1.Page(token=token))
    refused = await refusal(admin.edge.call("control.list_machine_history", asked, admin.token))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("page.token",))


async def test_a_tenant_learns_of_its_own_time_with_a_machine_alone(
    admin: Lists, yard: Yard, tokens: Tokens
) -> None:
    red, blue = Lists(admin.edge, tokens.red), Lists(admin.edge, tokens.blue)
    (name,) = await yard.adopted()
    cordon = v1.CordonMachineRequest(machine=name, reason="red is under suspicion")
    await yard.admin.control.cordon_machine(cordon)
    seen = (await red.history(name)).causes
    assert [cause.what for cause in seen] == ["cordoned", "completed"]
    assert (seen[0].detail, seen[0].actor) == ("", ""), "not who did it, nor why"
    everything = (await admin.history(name)).causes
    assert everything[0].detail == "red is under suspicion" and everything[0].actor
    assert len(everything) > len(seen)
    assert not await red.actions(name), "what was asked of the BMC came before"
    assert all(action.exchanges for action in await admin.actions(name))

    await yard.admin.control.uncordon_machine(v1.MachineRequest(machine=name))
    await yard.red.control.release_machine(v1.MachineRequest(machine=name))
    await rests(yard.admin, name, v1.MachineState.AVAILABLE)
    refused = await refusal(
        admin.edge.call(
            "control.list_machine_history", v1.ListMachineHistoryRequest(machine=name), tokens.red
        )
    )
    assert refused.status is Status.NOT_FOUND
    await yard.admin.control.manage_machine(v1.MachineRequest(machine=name))
    await yard.adopt(name, "blue")
    await rests(yard.admin, name, v1.MachineState.ACTIVE)
    power = v1.PowerMachineRequest(machine=name, target=v1.PowerTarget.OFF)
    await admin.edge.call("control.power_machine", power, tokens.blue)
    await rests(yard.admin, name, v1.MachineState.ACTIVE)
    told = (await blue.history(name)).causes
    assert [cause.what for cause in told][-2:] == ["power to off began", "completed"]
    assert not any("suspicion" in cause.detail for cause in told)
    newest, *_ = told
    page = await blue.history(name, token="9" * 9)
    assert page.causes[0] == newest, "a token of one's own shows no more"
    assert page.causes[-1] == told[-1]
    tried = await blue.actions(name)
    assert [action.verb for action in tried] == ["power"]
    assert not tried[0].exchanges
    assert name not in await red.machines()
    assert name in await blue.machines()


async def test_the_holder_of_an_open_claim_sees_its_machine_before_it_is_deployed(
    admin: Lists, yard: Yard, tokens: Tokens
) -> None:
    red, blue = Lists(admin.edge, tokens.red), Lists(admin.edge, tokens.blue)
    (name,) = await yard.manageable()
    await yard.ask("provide_machine", [name], v1.MachineState.AVAILABLE)
    assert name not in await red.machines()
    later = await exact(yard.red, "later", name, start=datetime.now(UTC) + timedelta(days=1))
    assert name not in await red.machines(), "a reservation is not the time yet"
    await yard.red.resource.release_claim(v1.ReleaseClaimRequest(claim=later))
    claim = await exact(yard.red, "soon", name)
    asked = v1.GetMachineRequest(machine=name)
    seen = (await admin.edge.call("control.get_machine", asked, tokens.red)).machine
    assert (seen.name, seen.state, seen.claim) == (name, v1.MachineState.AVAILABLE, claim)
    assert seen.facts is not None and seen.facts.nics
    assert seen.bmc is None and seen.cleaned is None
    assert name in await red.machines()
    assert await red.machines(claim=claim) == [name]
    why = await admin.edge.call(
        "control.why_machine", v1.WhyMachineRequest(machine=name), tokens.red
    )
    assert f"{name} is available, held by claim {claim}" in why.summary
    assert not why.chain, "what was done to it before is not for its holder to read"
    assert not (await red.history(name)).causes
    assert not await red.actions(name)
    power = v1.PowerMachineRequest(machine=name, target=v1.PowerTarget.OFF)
    early = await refusal(admin.edge.call("control.power_machine", power, tokens.red))
    assert early.status is Status.FAILED_PRECONDITION
    told = f"nothing of your project runs on machine {name} yet: deploy claim soon to it"
    assert told in early.message

    assert name not in await blue.machines()
    assert name not in await blue.machines(claim=claim)
    for method, message in (("get_machine", asked), ("power_machine", power)):
        hidden = await refusal(admin.edge.call(f"control.{method}", message, tokens.blue))
        assert hidden.status is Status.NOT_FOUND
    await yard.red.resource.release_claim(v1.ReleaseClaimRequest(claim=claim))
    assert name not in await red.machines()
    gone = await refusal(admin.edge.call("control.get_machine", asked, tokens.red))
    assert gone.status is Status.NOT_FOUND


async def test_a_brief_list_tells_what_tables_show_and_nothing_else(
    admin: Lists, edge: Edge, yard: Yard
) -> None:
    (name,) = await yard.manageable()
    cordon = v1.CordonMachineRequest(machine=name, reason="its fan is loud", maintenance=True)
    await edge.call("control.cordon_machine", cordon, admin.token)
    fresh = await admin.fresh()

    async def listed(view: v1.MachineView | None) -> v1.Machine:
        asked = v1.ListMachinesRequest(name=name, freshness=fresh)
        if view is not None:
            asked.view = view
        answer = await edge.call("control.list_machines", asked, admin.token)
        (machine,) = answer.machines
        return cast(v1.Machine, machine)

    full = await listed(v1.MachineView.FULL)
    assert full == await listed(None)
    assert full.etag and full.facts and full.power and full.cordon
    assert full.health is not None
    assert await listed(v1.MachineView.BASIC) == v1.Machine(
        uuid=full.uuid,
        name=name,
        state=full.state,
        failed_operation=full.failed_operation,
        power=v1.PowerStatus(observed=full.power.observed, desired=full.power.desired),
        claim=full.claim,
        project=full.project,
        image=full.image,
        facts=v1.Facts(manufacturer=full.facts.manufacturer, model=full.facts.model),
        operation=full.operation,
        fault=full.fault,
        updated_at=full.updated_at,
        health=v1.HealthStatus(health=full.health.health),
        cordon=v1.MachineCordon(maintenance=True),
    )
    lifted = v1.MachineRequest(machine=name)
    await edge.call("control.uncordon_machine", lifted, admin.token)


async def test_a_brief_list_of_providers_can_be_of_those_that_machines_stand_under(
    admin: Lists, edge: Edge, site: None
) -> None:
    made = v1.CreateProviderRequest(name="s_a-disk", type="component", parent="s_a")
    await edge.call("resource.create_provider", made, admin.token)
    asked = v1.ListProvidersRequest(
        type="component",
        above="machine",
        view=v1.ProviderView.BASIC,
        page=v1.Page(size=1000),
        freshness=await admin.fresh(),
    )
    found = (await edge.call("resource.list_providers", asked, admin.token)).providers
    places = {one.name: one for one in found}
    assert {"row", "rack-1", "rack-2", "rack-3"} <= places.keys()
    assert "s_a-disk" not in places
    row, rack = places["row"], places["rack-1"]
    assert rack == v1.Provider(
        uuid=rack.uuid, name="rack-1", type="component", parent=row.uuid, region=rack.region
    )
    asked.above = "rack"
    refused = await refusal(edge.call("resource.list_providers", asked, admin.token))
    assert refused.status is Status.INVALID_ARGUMENT
    assert refused.fields == ("above",)
