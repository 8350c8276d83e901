"""One table of scenarios for the clients in every language, so that they cannot drift apart."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from mulligan.tls import TlsFiles
from tests.client.fakes import SECRET, FakeRegion, throwaway_tls
from tests.clients import parts
from tests.clients.drivers import Driver, Ours, Outcome, Program
from tests.clients.world import Watch, World

Scenario = Mapping[str, Any]
TABLE: list[Scenario] = json.loads(Path(__file__).with_name("scenarios.json").read_text())


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return throwaway_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(
    scope="module",
    params=[
        "python",
        pytest.param("typescript", marks=pytest.mark.clients),
        pytest.param("go", marks=pytest.mark.clients),
    ],
)
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    made: Driver
    if request.param == "python":
        made = Ours()
    else:
        made = await Program.run(parts.driver(request.param))
    yield made
    await made.close()


@pytest.fixture
async def world(tls: TlsFiles) -> AsyncIterator[World]:
    made = World(FakeRegion(), tls)
    yield made
    await made.close()


@pytest.mark.parametrize("scenario", TABLE, ids=[one["it"] for one in TABLE])
async def test_every_client(
    scenario: Scenario, driver: Driver, world: World, tls: TlsFiles, tmp_path: Path
) -> None:
    if isinstance(driver, Ours) and "not in Python" in scenario:
        pytest.skip(scenario["not in Python"])
    for _ in range(scenario.get("servers", 1)):
        await world.start()
    ca = throwaway_tls(tmp_path).ca if scenario.get("ca") == "wrong" else tls.ca
    addresses = [instance.address for instance in world.instances]
    if "host" in scenario:
        addresses = [await world.reached_at(scenario["host"], one) for one in world.instances]
    if scenario.get("silent"):
        addresses = [await world.silent()]
    opened = {
        "op": "open",
        "address": addresses,
        "ca": str(ca),
        "account": "ada",
        "secret": scenario.get("secret", SECRET),
        "patience": scenario.get("patience", 5),
    }
    if "span at work" in scenario:
        opened["traceparent"] = scenario["span at work"]
    assert await driver.do(opened) == {"answer": {}}
    for step in scenario["steps"]:
        if "world" in step:
            await world.play(step["world"])
        else:
            await do(step, driver, world)
    seen = world.seen()
    for what, wanted in scenario["seen"].items():
        assert seen.get(what) == wanted, what


async def do(step: Mapping[str, Any], driver: Driver, world: World) -> None:
    """Do a step, change the world under it where it says so, and compare what came of it."""
    watch = Watch()
    outcome: Outcome = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.under, step.get("meanwhile", []))
        outcome = await driver.do(step["do"])
        if "meanwhile" not in step:
            tasks.cancel_scope.cancel()
    wanted = dict(step.get("want", {}))
    pattern = wanted.pop("match", "")
    assert ("error" in outcome) == ("error" in wanted), outcome
    assert re.search(pattern, outcome.get("message", "")), outcome
    assert holds(outcome, wanted), (outcome, wanted)
    assert watch.seconds >= step.get("at_least", 0)
    assert watch.seconds <= step.get("within", 20)


def holds(found: Any, wanted: Any) -> bool:
    """Tell whether everything wanted was found; more may have been."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            holds(found.get(key), value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(holds, found, wanted))
    return bool(found == wanted)
