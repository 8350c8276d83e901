"""The clients that an executor keeps: whose session ends when, and what a dead BMC holds up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.clients import Clients
from tests.redfish.conftest import Connect
from tests.redfish.scripted_bmc import SESSIONS, SYSTEM, ScriptedBmc, stall


@asynccontextmanager
async def running(clients: Clients) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clients.run)
        yield
        tasks.cancel_scope.cancel()


async def logged_in(connect: Connect) -> BmcClient:
    client = connect()
    await client.get(SYSTEM)
    return client


async def no_session(bmc: ScriptedBmc) -> None:
    with anyio.fail_after(5):
        while bmc.tokens:
            await anyio.sleep(0.01)


async def test_a_client_is_kept_for_its_identity_only(connect: Connect) -> None:
    clients, client = Clients(), connect()
    clients.keep("m", "v1", client)
    assert clients.get("m", "v1") is client
    assert clients.get("m", "v2") is None
    assert clients.get("n", "v1") is None


async def test_the_session_of_a_machine_that_went_to_another_executor_is_deleted(
    bmc: ScriptedBmc, connect: Connect
) -> None:
    clients = Clients()
    async with running(clients):
        for machine in ("ours", "theirs"):
            clients.keep(machine, "v1", await logged_in(connect))
        assert len(bmc.tokens) == 2
        clients.give_up_unless(lambda machine: machine == "ours")
        with anyio.fail_after(5):
            while len(bmc.tokens) == 2:
                await anyio.sleep(0.01)
        assert clients.get("ours", "v1") is not None
        assert clients.get("theirs", "v1") is None
    assert not bmc.tokens, "in the end all sessions are"


async def test_a_client_in_use_stays_open_until_its_step_has_ended(
    bmc: ScriptedBmc, connect: Connect
) -> None:
    clients = Clients()
    async with running(clients):
        clients.keep("m", "v1", await logged_in(connect))
        with clients.using("m"):
            clients.give_up_unless(lambda machine: False)
            assert clients.get("m", "v1") is not None
        clients.give_up_unless(lambda machine: False)
        await no_session(bmc)


async def test_the_least_used_client_makes_room(bmc: ScriptedBmc, connect: Connect) -> None:
    clients = Clients(limit=2)
    async with running(clients):
        for machine in ("a", "b"):
            clients.keep(machine, "v1", await logged_in(connect))
        assert clients.get("a", "v1") is not None
        with clients.using("b"):
            clients.keep("c", "v1", connect())
            assert len(clients) == 2
            assert clients.get("b", "v1") is not None
            assert clients.get("a", "v1") is None, "the one before was in use"


async def test_bmcs_that_hang_do_not_hold_up_the_end(bmc: ScriptedBmc, connect: Connect) -> None:
    clients = Clients()
    for number in range(20):
        clients.keep(f"m-{number}", "v1", await logged_in(connect))
    bmc.script("DELETE", f"{SESSIONS}/.*", stall(30, apply=False), times=19)
    with anyio.fail_after(3.5):
        async with running(clients):
            pass
    assert len(bmc.tokens) == 19
