"""What may be asked of machines, by whom, and how it is refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from grpclib import Status

from mulligan.errors import NotFound
from mulligan.proto import v1
from tests.e2e.fleet import CREDENTIAL, IMAGE, machine, rests
from tests.e2e.region import until
from tests.services.conftest import Tokens
from tests.services.edge import Edge, Refusal, refusal
from tests.services.yard import Yard

ABSENT = "018f0000-0000-7000-8000-000000000000"
INVALID = Status.INVALID_ARGUMENT
REFUSED = Status.FAILED_PRECONDITION


class Operator(NamedTuple):
    """Asks things of machines with an administrator's token."""

    edge: Edge
    token: str

    async def ask(self, method: str, message: Any) -> v1.Machine:
        answer = await self.edge.call(f"control.{method}", message, self.token)
        found: v1.Machine = answer.machine
        return found

    async def refused(self, method: str, message: Any) -> Refusal:
        return await refusal(self.edge.call(f"control.{method}", message, self.token))

    async def enrol(self, name: str) -> v1.Machine:
        """Enrol a machine whose BMC nobody ever asks."""
        bmc = v1.Bmc(address=f"https://{name}.invalid", credential=CREDENTIAL)
        return await self.ask("enroll_machine", v1.EnrollMachineRequest(name=name, bmc=bmc))


@pytest.fixture
def admin(edge: Edge, tokens: Tokens, yard: Yard) -> Operator:
    return Operator(edge, tokens.admin)


# -- reaching a machine, and its profile ---------------------------------------------------------


async def test_a_machine_is_reached_in_another_way_from_then_on(admin: Operator) -> None:
    before = await admin.enrol("moved")
    bmc = v1.Bmc(address="https://moved-2.invalid", credential=CREDENTIAL, insecure=True)
    asked = v1.UpdateMachineRequest(machine="moved", bmc=bmc, etag=before.etag)
    after = await admin.ask("update_machine", asked)
    assert after.bmc is not None
    assert (after.bmc.address, after.bmc.insecure) == (bmc.address, True)
    assert after.etag != before.etag
    freed = v1.EnrollMachineRequest(name="newcomer", bmc=before.bmc)
    assert (await admin.ask("enroll_machine", freed)).uuid != before.uuid


async def test_a_machine_is_changed_only_as_its_reader_saw_it(admin: Operator) -> None:
    stale = (await admin.enrol("raced")).etag
    for address in ("https://raced-2.invalid", "https://raced-3.invalid"):
        bmc = v1.Bmc(address=address, credential=CREDENTIAL)
        asked = v1.UpdateMachineRequest(machine="raced", bmc=bmc, etag=stale)
        if address.endswith("2.invalid"):
            await admin.ask("update_machine", asked)
        else:
            assert (await admin.refused("update_machine", asked)).status is Status.ABORTED
    found = await admin.ask("get_machine", v1.GetMachineRequest(machine="raced"))
    assert found.bmc is not None and found.bmc.address == "https://raced-2.invalid"


def update(**changes: Any) -> v1.UpdateMachineRequest:
    bmc = v1.Bmc(**{"address": "https://b.invalid", "credential": CREDENTIAL, **changes})
    return v1.UpdateMachineRequest(machine="settled", bmc=bmc)


WRONG_UPDATES = {
    "nothing": (v1.UpdateMachineRequest(machine="settled"), INVALID, "bmc"),
    "two things": (
        v1.UpdateMachineRequest(machine="settled", bmc=update().bmc, profile=""), INVALID, "bmc",
    ),
    "no address": (update(address=""), INVALID, "bmc.address"),
    "a path": (update(address="https://b.invalid/redfish"), INVALID, "bmc.address"),
    "no credential": (update(credential=""), INVALID, "bmc.credential"),
    "an unknown credential": (update(credential="nobodys"), Status.NOT_FOUND, ""),
    "a short fingerprint": (update(fingerprint="ab:cd"), INVALID, "bmc.fingerprint"),
    "a pin of what is not checked": (update(pin=True, insecure=True), INVALID, "bmc.pin"),
    "no system id": (update(system="../1"), INVALID, "bmc.system"),
    "the BMC of another": (update(address="https://other.invalid"), Status.ALREADY_EXISTS, ""),
    "an unknown profile": (
        v1.UpdateMachineRequest(machine="settled", profile="none"), Status.NOT_FOUND, "",
    ),
    "a malformed etag": (
        v1.UpdateMachineRequest(machine="settled", profile="", etag="W/1"), INVALID, "etag",
    ),
    "no such machine": (
        v1.UpdateMachineRequest(machine=ABSENT, profile=""), Status.NOT_FOUND, "",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
async def settled(edge: Edge, tokens: Tokens, yard: Yard) -> v1.Machine:
    await Operator(edge, tokens.admin).enrol("other")
    return await Operator(edge, tokens.admin).enrol("settled")


@pytest.mark.parametrize("case", WRONG_UPDATES)
async def test_a_wrong_update_is_refused_and_changes_nothing(
    admin: Operator, settled: v1.Machine, case: str
) -> None:
    message, status, field = WRONG_UPDATES[case]
    refused = await admin.refused("update_machine", message)
    assert (refused.status, refused.fields) == (status, (field,) if field else ())
    found = await admin.ask("get_machine", v1.GetMachineRequest(machine="settled"))
    assert found.etag == settled.etag


async def test_a_machine_goes_by_a_profile_that_is_given_and_taken_back(admin: Operator) -> None:
    profile = v1.HardwareProfile(name="special")
    await admin.edge.call("control.set_profile", v1.SetProfileRequest(profile=profile), admin.token)
    await admin.enrol("given")
    for name in ("special", ""):
        asked = v1.UpdateMachineRequest(machine="given", profile=name)
        assert (await admin.ask("update_machine", asked)).profile == name


# -- adoption ------------------------------------------------------------------------------------


async def test_a_running_machine_is_adopted_untouched_and_is_its_projects(
    admin: Operator, yard: Yard, edge: Edge, tokens: Tokens
) -> None:
    (name,) = await yard.enrolled()
    claim = await yard.adopt(name, "red")
    found = await rests(yard.admin, name, v1.MachineState.ACTIVE)
    assert found.claim == claim, "the request's id is the claim's"
    assert yard.writes(name) == 0
    seen = await machine(yard.red, name)
    assert (seen.uuid, seen.claim, seen.bmc) == (found.uuid, claim, None)
    held = (await yard.red.resource.get_claim(v1.GetClaimRequest(claim=claim))).claim
    assert held is not None and [a.provider for a in held.allocations] == [found.uuid]
    blue = await refusal(
        edge.call("control.get_machine", v1.GetMachineRequest(machine=name), tokens.blue)
    )
    assert blue.status is Status.NOT_FOUND
    again = v1.AdoptMachineRequest(machine=name, project="blue")
    assert (await admin.refused("adopt_machine", again)).status is REFUSED
    repeated = v1.AdoptMachineRequest(request_id=claim, machine=name, project="red")
    assert (await admin.ask("adopt_machine", repeated)).claim == claim


async def test_an_adoption_beyond_the_projects_quota_fails_and_holds_nothing(
    admin: Operator, yard: Yard, edge: Edge, tokens: Tokens
) -> None:
    await edge.call("iam.create_project", v1.CreateProjectRequest(name="tight"), tokens.admin)
    quota = v1.SetQuotaRequest(project="tight", limits={"machine": 0})
    await edge.call("resource.set_quota", quota, tokens.admin)
    (name,) = await yard.enrolled()
    claim = await yard.adopt(name, "tight")
    fault = await yard.failed(name)
    assert fault.fault == "over-quota"
    found = await yard.machine(name)
    assert (found.failed_operation, found.claim, found.project) == ("adopt", "", "")
    with pytest.raises(NotFound):
        await yard.admin.resource.get_claim(v1.GetClaimRequest(claim=claim))
    await yard.ask("inspect_machine", [name], v1.MachineState.MANAGEABLE)


@pytest.mark.parametrize(
    ("project", "status", "fields"),
    [
        ("", INVALID, ("project",)),
        ("nobodys", Status.NOT_FOUND, ()),
        (ABSENT, Status.NOT_FOUND, ()),
    ],
)
async def test_an_adoption_names_a_project(
    admin: Operator, settled: v1.Machine, project: str, status: Status, fields: tuple[str, ...]
) -> None:
    asked = v1.AdoptMachineRequest(machine="settled", project=project)
    refused = await admin.refused("adopt_machine", asked)
    assert (refused.status, refused.fields) == (status, fields)


# -- rescue --------------------------------------------------------------------------------------


async def test_a_holder_rescues_its_machine_and_an_operator_restores_it(
    admin: Operator, yard: Yard, edge: Edge, tokens: Tokens
) -> None:
    (name,) = await yard.adopted()
    note = v1.CreateUserDataRequest(name="not-reds", content=b"#!/bin/sh")
    theirs = (await edge.call("control.create_user_data", note, tokens.blue)).user_data
    wrong = [
        (v1.RescueMachineRequest(machine=name, image="nothing"), Status.NOT_FOUND, ()),
        (v1.RescueMachineRequest(machine=name), INVALID, ("image",)),
        (
            v1.RescueMachineRequest(machine=name, image=IMAGE, user_data=theirs.uuid),
            Status.NOT_FOUND,
            (),
        ),
        (
            v1.RescueMachineRequest(machine=name, image=IMAGE, user_data="not-reds"),
            Status.NOT_FOUND,
            (),
        ),
    ]
    for token in (tokens.red, tokens.admin):
        for message, status, fields in wrong:
            refused = await refusal(edge.call("control.rescue_machine", message, token))
            assert (refused.status, refused.fields) == (status, fields)
    early = await refusal(
        edge.call("control.restore_machine", v1.MachineRequest(machine=name), tokens.red)
    )
    assert early.status is REFUSED and "active" in early.message
    asked = v1.RescueMachineRequest(machine=name, image=IMAGE)
    await edge.call("control.rescue_machine", asked, tokens.red)
    found = await rests(yard.red, name, v1.MachineState.RESCUE)
    assert found.rescue_image and found.claim
    await admin.ask("restore_machine", v1.MachineRequest(machine=name))
    found = await rests(yard.red, name, v1.MachineState.ACTIVE)
    assert (found.rescue_image, found.power and found.power.observed) == ("", "on")


async def test_user_data_is_found_by_its_name_in_the_claims_project(
    yard: Yard, edge: Edge, tokens: Tokens
) -> None:
    (name,) = await yard.adopted()
    claim = (await yard.machine(name)).claim
    notes = v1.CreateUserDataRequest(name="boot-notes", content=b"#!/bin/sh")
    await edge.call("control.create_user_data", notes, tokens.red)

    async def refused(token: str, **given: str) -> Refusal:
        message = v1.DeployMachineRequest(**{"claim": claim, "image": IMAGE, **given})
        return await refusal(edge.call("control.deploy_machine", message, token))

    for token in (tokens.admin, tokens.red):
        found = await refused(token, user_data="boot-notes", hostname="No Host")
        assert (found.status, found.fields) == (INVALID, ("hostname",)), "all else is well"
        missing = await refused(token, user_data="no-notes")
        assert missing.status is Status.NOT_FOUND and "user data" in missing.message
    other = await refused(tokens.blue, user_data="boot-notes")
    absent = await refused(tokens.blue, user_data="boot-notes", claim=ABSENT)
    assert other.status is Status.NOT_FOUND
    assert other.message == absent.message.replace(ABSENT, claim)


ON_MACHINES: dict[str, Callable[[str], Any]] = {
    "rescue_machine": lambda m: v1.RescueMachineRequest(machine=m, image=IMAGE),
    "restore_machine": lambda m: v1.MachineRequest(machine=m),
    "list_machine_history": lambda m: v1.ListMachineHistoryRequest(machine=m),
}


@pytest.mark.parametrize("method", ON_MACHINES)
async def test_what_holders_ask_of_machines_that_they_do_not_hold_finds_nothing(
    settled: v1.Machine, edge: Edge, tokens: Tokens, method: str
) -> None:
    make = ON_MACHINES[method]
    held = await refusal(edge.call(f"control.{method}", make(settled.uuid), tokens.blue))
    absent = await refusal(edge.call(f"control.{method}", make(ABSENT), tokens.blue))
    assert held.status is Status.NOT_FOUND
    assert held.message == absent.message.replace(ABSENT, settled.uuid)


FOR_OPERATORS: dict[str, Any] = {
    "update_machine": v1.UpdateMachineRequest(machine="settled", profile=""),
    "adopt_machine": v1.AdoptMachineRequest(machine="settled", project="red"),
    "keep_power": v1.KeepPowerRequest(machine="settled", power="on"),
    "cordon_machine": v1.CordonMachineRequest(machine="settled", reason="mine"),
    "uncordon_machine": v1.MachineRequest(machine="settled"),
    "retire_machine": v1.RetireMachineRequest(machine="settled"),
    "reinstate_machine": v1.MachineRequest(machine="settled"),
    "allow_logins": v1.MachineRequest(machine="settled"),
}


@pytest.mark.parametrize("method", FOR_OPERATORS)
async def test_what_is_for_operators_is_refused_to_others(
    settled: v1.Machine, admin: Operator, tokens: Tokens, method: str
) -> None:
    for token in (tokens.red, tokens.reader):
        other = Operator(admin.edge, token)
        refused = await other.refused(method, FOR_OPERATORS[method])
        assert refused.status is Status.PERMISSION_DENIED


@pytest.mark.parametrize("method", FOR_OPERATORS)
async def test_a_machine_that_is_not_there_is_not_found(admin: Operator, method: str) -> None:
    given = {**FOR_OPERATORS[method].to_dict(), "machine": ABSENT}
    missing = type(FOR_OPERATORS[method]).from_dict(given)
    if method == "update_machine":
        missing.profile = ""
    assert (await admin.refused(method, missing)).status is Status.NOT_FOUND


# -- power, cordons, retirement ------------------------------------------------------------------


async def test_a_machine_is_kept_in_a_power_until_that_is_ended(admin: Operator) -> None:
    await admin.enrol("kept")
    for power in ("on", "off", ""):
        asked = v1.KeepPowerRequest(machine="kept", power=power)
        found = await admin.ask("keep_power", asked)
        assert found.power is not None and found.power.desired == power
        assert found.operation is None, "its power is unknown, and unknown is not off"
    refused = await admin.refused("keep_power", v1.KeepPowerRequest(machine="kept", power="up"))
    assert (refused.status, refused.fields) == (INVALID, ("power",))


async def test_nothing_is_asked_of_a_machine_in_maintenance(admin: Operator, yard: Yard) -> None:
    (name,) = await yard.manageable()
    asked = v1.CordonMachineRequest(machine=name, reason="new fans", maintenance=True)
    cordon = (await admin.ask("cordon_machine", asked)).cordon
    assert cordon is not None
    assert (cordon.reason, cordon.maintenance, cordon.until) == ("new fans", True, None)
    for method, message in (
        ("inspect_machine", v1.MachineRequest(machine=name)),
        ("provide_machine", v1.MachineRequest(machine=name)),
        ("power_machine", v1.PowerMachineRequest(machine=name, target=v1.PowerTarget.ON)),
        ("adopt_machine", v1.AdoptMachineRequest(machine=name, project="red")),
        ("retire_machine", v1.RetireMachineRequest(machine=name)),
    ):
        refused = await admin.refused(method, message)
        assert refused.status is REFUSED
        assert "in maintenance (new fans)" in refused.message
    assert (await admin.ask("uncordon_machine", v1.MachineRequest(machine=name))).cordon is None
    await yard.ask("inspect_machine", [name], v1.MachineState.MANAGEABLE)


async def test_a_cordon_ends_by_itself_when_its_time_is_over(admin: Operator) -> None:
    await admin.enrol("shortly")
    ends = datetime.now(UTC) + timedelta(seconds=1)
    asked = v1.CordonMachineRequest(machine="shortly", reason="a moment", until=ends)
    cordon = (await admin.ask("cordon_machine", asked)).cordon
    assert cordon is not None and cordon.until is not None

    async def lifted() -> bool:
        found = await admin.ask("get_machine", v1.GetMachineRequest(machine="shortly"))
        return found.cordon is None

    await until(lifted, "the cordon ends", 15)
    assert datetime.now(UTC) >= ends


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, "until"),
    ],
    ids=["no reason", "a long reason", "an end in the past"],
)
async def test_a_cordon_has_a_reason_and_an_end_to_come(
    admin: Operator, settled: v1.Machine, changes: dict[str, Any], field: str
) -> None:
    asked = v1.CordonMachineRequest(**{"machine": "settled", "reason": "why", **changes})
    refused = await admin.refused("cordon_machine", asked)
    assert (refused.status, refused.fields) == (INVALID, (field,))


async def test_a_cordon_leaves_what_is_claimed_and_tells_tenants_neither_who_nor_why(
    admin: Operator, yard: Yard
) -> None:
    (name,) = await yard.adopted()
    claim = (await yard.machine(name)).claim
    await admin.ask("cordon_machine", v1.CordonMachineRequest(machine=name, reason="suspicious"))
    seen = await machine(yard.red, name)
    assert (seen.state, seen.claim) == (v1.MachineState.ACTIVE, claim)
    assert seen.cordon is not None and (seen.cordon.by, seen.cordon.reason) == ("", "")


async def test_a_machine_is_retired_only_when_nobody_claims_it_and_can_come_back(
    admin: Operator, yard: Yard
) -> None:
    (name,) = await yard.manageable()
    back = v1.MachineRequest(machine=name)
    assert (await admin.refused("reinstate_machine", back)).status is REFUSED
    retired = await admin.ask("retire_machine", v1.RetireMachineRequest(machine=name, reason="old"))
    assert retired.state is v1.MachineState.RETIRED
    assert (await admin.refused("inspect_machine", back)).status is REFUSED
    assert (await admin.ask("reinstate_machine", back)).state is v1.MachineState.MANAGEABLE
    (held,) = await yard.adopted()
    refused = await admin.refused("retire_machine", v1.RetireMachineRequest(machine=held))
    assert refused.status is REFUSED


# -- logins --------------------------------------------------------------------------------------


async def test_logins_stop_before_the_account_is_locked_until_they_are_allowed_again(
    admin: Operator, yard: Yard, edge: Edge, tokens: Tokens
) -> None:
    login = v1.CreateCredentialRequest(name="late", username="late", password="comes later")
    await edge.call("control.create_credential", login, tokens.admin)
    (name,) = await yard.enrolled()
    bmc = yard.fleet.bmc(name, "late")
    await admin.ask("update_machine", v1.UpdateMachineRequest(machine=name, bmc=bmc))
    await yard.admin.control.inspect_machine(v1.MachineRequest(machine=name))
    refused: list[str] = []
    for _ in range(4):
        fault = await yard.failed(name)
        assert fault.fault == "bad-credentials"
        refused.append(fault.message)
        if "no more are tried" in fault.message:
            break
        await yard.admin.control.retry_machine(v1.MachineRequest(machine=name))
    assert len(refused) <= 3, "two logins are refused, and no third is tried"
    assert "no more are tried" in refused[-1]
    yard.let_in("late", "comes later")
    await yard.admin.control.retry_machine(v1.MachineRequest(machine=name))
    assert "no more are tried" in (await yard.failed(name)).message
    await admin.ask("allow_logins", v1.MachineRequest(machine=name))
    await yard.ask("retry_machine", [name], v1.MachineState.MANAGEABLE)
