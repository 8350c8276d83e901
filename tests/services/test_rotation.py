"""BMC passwords rotated by a running region, over TLS: asked for, shown, refused, and gone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grpclib import Status

from mulligan.client import Client
from mulligan.proto import v1
from mulligan.tls import fingerprint
from tests.e2e.region import RunningRegion, until
from tests.redfish.account_bmc import AccountBmc
from tests.services.conftest import Tokens
from tests.services.edge import Edge, refusal

GIVEN = "N3w-and-Long.enough"
OTHER = "0ther-and-Long.enough"


class Site:
    """BMCs with accounts, enrolled under one credential of the test's own."""

    def __init__(self, admin: Client, name: str) -> None:
        self.admin = admin
        self.name = name
        self.bmcs: list[AccountBmc] = []
        self.uuids: list[str] = []

    async def add(self, folder: Path) -> AccountBmc:
        bmc = AccountBmc()
        here = folder / f"bmc-{self.name}-{len(self.bmcs)}"
        here.mkdir()
        certificate = await bmc.start_tls(here)
        if not self.bmcs:
            login = v1.CreateCredentialRequest(
                name=self.name, username=bmc.user, password=bmc.password
            )
            await self.admin.control.create_credential(login)
        reached = v1.Bmc(
            address=bmc.address,
            credential=self.name,
            fingerprint=fingerprint(certificate.read_bytes()),
        )
        asked = v1.EnrollMachineRequest(name=f"{self.name}-{len(self.bmcs)}", bmc=reached)
        made = (await self.admin.control.enroll_machine(asked)).machine
        assert made is not None
        self.bmcs.append(bmc)
        self.uuids.append(made.uuid)
        return bmc

    async def rotate(self, password: str = "") -> v1.Credential:
        asked = v1.RotateCredentialRequest(credential=self.name, password=password)
        answer = (await self.admin.control.rotate_credential(asked)).credential
        assert answer is not None
        return answer

    async def show(self) -> v1.Credential:
        asked = v1.GetCredentialRequest(credential=self.name)
        answer = (await self.admin.control.get_credential(asked)).credential
        assert answer is not None
        return answer

    async def rotation(self) -> v1.Rotation:
        shown = (await self.show()).rotation
        assert shown is not None
        return shown

    async def over(self) -> None:
        async def is_over() -> bool:
            return (await self.show()).rotation is None

        await until(is_over, "the rotation is over", 60)


@asynccontextmanager
async def site(region: RunningRegion, place: Path, name: str, count: int) -> AsyncIterator[Site]:
    it = Site(region.client(), name)
    try:
        for _ in range(count):
            await it.add(place)
        yield it
    finally:
        for bmc in it.bmcs:
            await bmc.stop()


async def test_every_bmc_is_given_a_password_that_was_made(
    region: RunningRegion, tokens: Tokens, place: Path
) -> None:
    async with site(region, place, "made", 4) as it:
        assert (await it.rotate()).rotation is not None
        shown = (await it.show()).rotation
        assert shown is None or shown.machines == 4
        await it.over()
        passwords = {bmc.password for bmc in it.bmcs}
        assert len(passwords) == 1
        (made,) = passwords
        assert len(made) == 16
        assert made != "s3cret-Passw0rd"
        assert [bmc.refused_in_a_row for bmc in it.bmcs] == [0] * 4
        await inspected(it)


async def inspected(it: Site) -> None:
    """Check that everything else goes by the new password."""
    for name in it.uuids:
        await it.admin.control.inspect_machine(v1.MachineRequest(machine=name))

    async def rest() -> bool:
        found = [await it.admin.control.get_machine(_get(uuid)) for uuid in it.uuids]
        states = {one.machine.state for one in found if one.machine is not None}
        return states == {v1.MachineState.MANAGEABLE}

    await until(rest, "all are inspected", 60)


def _get(uuid: str) -> v1.GetMachineRequest:
    return v1.GetMachineRequest(machine=uuid)


async def test_the_progress_names_who_is_left_and_why_and_another_password_helps(
    region: RunningRegion, tokens: Tokens, place: Path
) -> None:
    async with site(region, place, "strict", 2) as it:
        lax, strict = it.bmcs
        strict.policy, strict.echoes = "PropertyValueFormatError", True
        await it.rotate(GIVEN)

        async def refused() -> bool:
            shown = await it.rotation()
            return bool(shown.problem) and shown.rotated == 1

        await until(refused, "one has it and one refuses", 60)
        shown = await it.rotation()
        assert shown.waiting == [it.uuids[1]]
        assert shown.problem.startswith("machine strict-1: password-refused: ")
        assert GIVEN not in shown.problem
        strict.policy = ""
        await it.rotate(OTHER)
        await it.over()
        assert {lax.password, strict.password} == {OTHER}
        assert max(bmc.refused_in_a_row for bmc in it.bmcs) < 2
        await no_password_stands_anywhere(it)


async def no_password_stands_anywhere(it: Site) -> None:
    """Check what operators read of it: actions, histories, the log."""
    for uuid in it.uuids:
        acted = await it.admin.control.list_actions(v1.ListActionsRequest(machine=uuid))
        why = await it.admin.control.why_machine(v1.WhyMachineRequest(machine=uuid))
        text = f"{acted} {why}"
        assert "change_password" in text
        assert not [word for word in (GIVEN, OTHER, "s3cret-Passw0rd") if word in text]


async def test_a_rotation_is_refused_where_it_makes_no_sense(
    region: RunningRegion, edge: Edge, tokens: Tokens, place: Path
) -> None:
    async with site(region, place, "odd", 1) as it:
        await it.bmcs[0].stop()
        for password, field in (("short", "password"), ("s3cret-Passw0rd", "password")):
            asked = v1.RotateCredentialRequest(credential="odd", password=password)
            refused = await refusal(edge.call("control.rotate_credential", asked, tokens.admin))
            assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, (field,))
        await it.rotate(GIVEN)
        again = v1.RotateCredentialRequest(credential="odd")
        refused = await refusal(edge.call("control.rotate_credential", again, tokens.admin))
        assert refused.status is Status.FAILED_PRECONDITION
        assert "being rotated already" in refused.message
        gone = v1.DeleteCredentialRequest(credential="odd")
        refused = await refusal(edge.call("control.delete_credential", gone, tokens.admin))
        assert refused.status is Status.FAILED_PRECONDITION
        dead = v1.DeleteMachineRequest(machine=it.uuids[0], force=True, reason="gone")
        await it.admin.control.delete_machine(dead)
        await it.over()
        await it.admin.control.delete_credential(gone)
        await it.bmcs[0].start()


async def test_one_request_rotates_once(
    region: RunningRegion, edge: Edge, tokens: Tokens, place: Path
) -> None:
    async with site(region, place, "once", 1) as it:
        asked = v1.RotateCredentialRequest(
            request_id="018f0000-0000-7000-8000-0000000a0001", credential="once", password=GIVEN
        )
        for _ in range(2):
            await edge.call("control.rotate_credential", asked, tokens.admin)
        await it.over()
        await edge.call("control.rotate_credential", asked, tokens.admin)
        assert it.bmcs[0].passwords == [GIVEN]
        assert (await it.show()).rotation is None


async def test_tenants_neither_see_nor_rotate_logins(edge: Edge, tokens: Tokens) -> None:
    for method, message in (
        ("get_credential", v1.GetCredentialRequest(credential="made")),
        ("rotate_credential", v1.RotateCredentialRequest(credential="made")),
    ):
        refused = await refusal(edge.call(f"control.{method}", message, tokens.red))
        assert refused.status is Status.PERMISSION_DENIED


@pytest.mark.parametrize("name", ["made", "nobody-knows"])
async def test_a_login_without_a_rotation_shows_none_and_an_absent_one_is_not_found(
    edge: Edge, tokens: Tokens, name: str
) -> None:
    asked = v1.GetCredentialRequest(credential=name)
    if name == "made":
        answer = await edge.call("control.get_credential", asked, tokens.admin)
        assert answer.credential.rotation is None
    else:
        refused = await refusal(edge.call("control.get_credential", asked, tokens.admin))
        assert refused.status is Status.NOT_FOUND


async def test_one_bmc_is_enrolled_once_however_its_address_is_written(
    region: RunningRegion, edge: Edge, tokens: Tokens
) -> None:
    login = v1.CreateCredentialRequest(name="ports", username="u", password="p")
    await edge.call("control.create_credential", login, tokens.admin)
    for address, status in (
        ("https://192.0.2.77", None),
        ("https://192.0.2.77:443/", Status.ALREADY_EXISTS),
    ):
        bmc = v1.Bmc(address=address, credential="ports")
        asked = v1.EnrollMachineRequest(name=f"port-{len(address)}", bmc=bmc)
        call = edge.call("control.enroll_machine", asked, tokens.admin)
        if status is None:
            assert (await call).machine.bmc.address == "https://192.0.2.77"
        else:
            assert (await refusal(call)).status is status
