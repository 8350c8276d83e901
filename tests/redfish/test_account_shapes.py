"""Accounts as makers of BMCs show them, and how they answer a changed password."""

from typing import Any

import pytest
from aiohttp import web

from tests.redfish.account_bmc import ACCOUNT, ACCOUNTS, SERVICE, AccountBmc
from tests.redfish.rotating import Lab, lab
from tests.redfish.scripted_bmc import Behaviour, Proceed, fails_after_applying, status
from tests.redfish.test_rotation import NEW, ended_well, seen_to

SLOT = f"{ACCOUNTS}/17"


def done_by(code: int, body: Any) -> Behaviour:
    async def behave(request: web.Request, proceed: Proceed) -> web.StreamResponse:
        await proceed()
        return web.json_response(body, status=code)

    return behave


def message(name: str) -> dict[str, Any]:
    return {"@Message.ExtendedInfo": [{"MessageId": name, "Message": "Done."}]}


ANSWERS: dict[str, Behaviour] = {
    "iDRAC: 200 and a message": done_by(200, message("IDRAC.2.8.SYS413")),
    "iLO: 200 and an error": done_by(200, {"error": message("iLO.2.14.AccountModified")}),
    "XCC: 200 and the account": done_by(200, {"@odata.id": ACCOUNT, "UserName": "admin"}),
    "MegaRAC: 202 and no task": done_by(202, {}),
    "an error after it was applied": fails_after_applying,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_what_counts_is_the_login_and_not_the_answer(answer: Behaviour) -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        bmc.script("PATCH", ACCOUNT, answer)
        await it.rotate(NEW)
        await it.see_through()
        await ended_well(it, bmc)
        assert bmc.passwords == [NEW]


async def test_the_account_is_found_among_slots_pages_and_slashes() -> None:
    bmc = AccountBmc()
    slots = [f"{ACCOUNTS}/{n}/" for n in range(1, 16) if n != 2]
    bmc.resources = {
        ACCOUNTS: {
            "Members": [{"@odata.id": one} for one in slots],
            "Members@odata.nextLink": f"{ACCOUNTS}/more",
        },
        f"{ACCOUNTS}/more": {"Members": [{"@odata.id": f"{ACCOUNT}/"}]},
        **{one.rstrip("/"): {"UserName": "", "Enabled": False} for one in slots},
    }
    async with lab(bmc) as it:
        await it.rotate(NEW)
        await it.see_through()
        await ended_well(it, bmc)


REFUSALS: dict[str, tuple[Behaviour, str]] = {
    "a rule of the password": (status(400, "PropertyValueFormatError"), "password-refused"),
    "one used before": (status(422, "The password was used before."), "password-refused"),
    "not its own": (status(403, "InsufficientPrivilege"), "forbidden"),
    "read only": (status(405, "Not allowed"), "unsupported"),
}


@pytest.mark.parametrize(("answer", "fault"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_is_told_and_changes_nothing(answer: Behaviour, fault: str) -> None:
    bmc = AccountBmc()
    async with lab(bmc) as it:
        bmc.script("PATCH", ACCOUNT, answer, times=9)
        await it.rotate(NEW)
        assert await trouble(it) == fault
        assert it.machine("m0").passwords == (it.credential().version,)
        assert bmc.refused_in_a_row == 0


@pytest.mark.parametrize(
    "resources",
    [{SERVICE: {"Name": "no accounts"}}, {ACCOUNTS: {"Members": [{"@odata.id": SLOT}]}}],
    ids=["no collection", "an account of a directory"],
)
async def test_an_account_that_is_not_the_bmcs_own_is_left_alone(resources: Any) -> None:
    bmc = AccountBmc()
    bmc.resources = resources
    async with lab(bmc) as it:
        await it.rotate(NEW)
        assert await trouble(it) == "unsupported"
        assert not bmc.passwords


async def trouble(it: Lab) -> str:
    await seen_to(it, lambda: it.machine("m0").unrotated is not None)
    found = it.machine("m0").unrotated
    assert found is not None
    return found.fault
