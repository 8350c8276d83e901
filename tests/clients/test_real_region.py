"""The clients in other languages against a region that runs as a user runs it."""

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from mulligan.model import new_id
from tests.client.fakes import throwaway_tls
from tests.clients import parts
from tests.clients.drivers import Program
from tests.e2e.fleet import IMAGE, Fleet
from tests.e2e.region import RunningRegion, short_folder

pytestmark = pytest.mark.clients

NODE_S = 90
EXAMPLE_S = 90


@pytest.fixture(scope="module")
async def region() -> AsyncIterator[RunningRegion]:
    with short_folder() as folder:
        async with RunningRegion(folder, "clients") as running:
            yield running


@pytest.fixture(params=["typescript", "go"])
async def driver(request: pytest.FixtureRequest, region: RunningRegion) -> AsyncIterator[Program]:
    program = await Program.run(parts.driver(request.param))
    await program.do(
        {
            "op": "open",
            "address": list(region.context.address),
            "ca": region.context.ca,
            "account": "admin",
            "secret": region.admin_secret,
            "patience": 30,
        }
    )
    yield program
    await program.close()


async def answer(driver: Program, method: str, **request: Any) -> Any:
    outcome = await driver.do({"op": "call", "method": method, "request": request})
    assert "error" not in outcome, outcome
    return outcome["answer"]


async def test_a_client_logs_in_writes_and_lists(driver: Program) -> None:
    assert (await answer(driver, "Iam.WhoAmI"))["accountName"] == "admin"
    name = f"group-{new_id()}"
    made = await answer(driver, "Resource.CreateGroup", name=name)
    listed = await driver.do({"op": "every", "method": "Resource.ListGroups"})
    assert made["group"]["uuid"] in [group["uuid"] for group in listed["answer"]]
    resolved = await driver.do({"op": "resolve", "kind": "group", "name": name})
    assert resolved == {"answer": made["group"]["uuid"]}


async def test_the_same_request_id_gives_the_same_answer(driver: Program) -> None:
    request = {"requestId": new_id(), "name": f"group-{new_id()}"}
    first = await answer(driver, "Resource.CreateGroup", **request)
    assert await answer(driver, "Resource.CreateGroup", **request) == first


async def test_a_service_that_is_killed_is_waited_for(
    driver: Program, region: RunningRegion
) -> None:
    first = await answer(driver, "Resource.CreateGroup", name=f"group-{new_id()}")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(region.kill, "resource")
        second = await answer(driver, "Resource.CreateGroup", name=f"group-{new_id()}")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(region.kill, "log")
        after = str(int(first["position"]["seq"]) - 1)
        watch = {"after": after, "filter": {"kind": "group"}}
        step = {"op": "take", "method": "Log.WatchLog", "request": watch, "count": 2}
        seen = await driver.do(step)
    positions = [record["position"] for record in seen["answer"]]
    assert positions == [first["position"], second["position"]]


async def test_a_refusal_is_a_typed_error(driver: Program) -> None:
    wrong = {"op": "call", "method": "Resource.CreateGroup", "request": {"name": "no/name"}}
    outcome = await driver.do(wrong)
    assert outcome["error"] == "InvalidArgument"
    assert list(outcome["violations"]) == ["name"]


@pytest.fixture(scope="module")
async def tenant(region: RunningRegion) -> AsyncIterator[dict[str, str]]:
    """The environment of a tenant, for whom there is a machine."""
    with short_folder() as folder:
        fleet = Fleet(region, folder / "fleet", 2, slowest=1)
        admin = region.client()
        async with fleet.emulator:
            await fleet.prepare(admin)
            await fleet.enrol(admin, fleet.names)
            await fleet.provide(admin, fleet.names)
            await region.tenant("red", "rita")
            yield {
                "PATH": os.environ["PATH"],
                "MULLIGAN_ADDRESS": ",".join(region.context.address),
                "MULLIGAN_CA": region.context.ca,
                "MULLIGAN_ACCOUNT": "rita",
                "MULLIGAN_SECRET": "rita-red-secret",
                "MULLIGAN_PROJECT": "red",
            }


@pytest.mark.parametrize("language", ["typescript", "go"])
async def test_the_example_gets_a_machine(language: str, tenant: dict[str, str]) -> None:
    example = parts.TYPESCRIPT / "examples" / "get_a_machine.mjs"
    command = {"typescript": ["node", str(example)], "go": [str(parts.GO_EXAMPLE)]}[language]
    with anyio.fail_after(EXAMPLE_S):
        ended = await anyio.run_process([*command, IMAGE], env=tenant, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stdout.decode().strip().endswith(f"runs {IMAGE}")
    assert ended.stderr == b""


async def test_node_s_own_tests_pass(region: RunningRegion, tmp_path: Path) -> None:
    test = parts.HERE / "typescript" / "region.test.mjs"
    told = {
        "PATH": os.environ["PATH"],
        "CLIENT": str(parts.TYPESCRIPT / "dist" / "index.js"),
        "RUN_FOLDER": str(region.paths.state_dir / "run"),
        "WRONG_CA": str(throwaway_tls(tmp_path).ca),
        "MULLIGAN_ADDRESS": ",".join(region.context.address),
        "MULLIGAN_CA": region.context.ca,
        "MULLIGAN_ACCOUNT": "admin",
        "MULLIGAN_SECRET": region.admin_secret,
    }
    with anyio.fail_after(NODE_S):
        ended = await anyio.run_process(
            ["node", "--test", str(test)], env=told, check=False, stderr=subprocess.STDOUT
        )
    assert ended.returncode == 0, ended.stdout.decode()
