"""Two regions on one machine, as a user runs them: together where asked, and else apart."""

import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mulligan.client.context import load_settings
from tests.e2e.region import until
from tests.e2e.regions import RunningRegions

SHA = "0" * 64


@pytest.fixture(scope="module")
async def two(place: Path) -> AsyncIterator[RunningRegions]:
    async with RunningRegions(place, ("east", "west")) as running:
        yield running


async def read(two: RunningRegions, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((await two.cli(*words, "-o", "json")).stdout)
    return found


async def test_each_region_has_a_context_and_knows_the_other(two: RunningRegions) -> None:
    settings = load_settings(Path(two.environment["MULLIGAN_CONFIG"]))
    assert settings.current == "east"
    assert settings.contexts.keys() == {"east", "west"}
    for name in two.names:
        regions = await read(two, "region", "list", "--context", name)
        assert [(one["name"], one["home"]) for one in regions] == [
            ("east", name == "east"),
            ("west", name == "west"),
        ]
        assert all(one["ca"] and one["addresses"] for one in regions)


async def test_a_tree_of_regions_is_shown_and_no_circle_is_made(two: RunningRegions) -> None:
    await two.cli("--region", "west", "region", "update", "--parent", "east", "-a", "power=wind")
    await two.cli("region", "connect", "west", "--from-context", "west", "--both-ways")
    shown = (await two.cli("region", "list")).stdout.splitlines()
    assert shown[1].split()[:2] == ["east", "*"]
    assert shown[2].startswith("  west")
    refused = await two.cli("region", "update", "--parent", "west", code=2)
    assert "parent: east cannot lie below west" in refused.stderr
    assert [one["name"] for one in await read(two, "region", "list", "--under", "east")] == ["west"]
    itself = await two.cli("region", "connect", "east", "--from-context", "east", code=2)
    assert "is this region itself" in itself.stderr


async def test_lists_are_made_of_what_all_regions_have(two: RunningRegions) -> None:
    await two.cli("project", "create", "alpha", "-q")
    await two.cli("--region", "west", "project", "create", "beta", "-q")
    listed = await two.cli("project", "list", "--regions", "all")
    rows = [line.split()[:2] for line in listed.stdout.splitlines()]
    assert rows == [["REGION", "NAME"], ["east", "alpha"], ["west", "beta"]]
    found = await read(two, "project", "list", "--regions", "west,east")
    assert [(one["region"], one["name"]) for one in found] == [("west", "beta"), ("east", "alpha")]
    unknown = await two.cli("project", "list", "--regions", "east,north", code=3)
    assert "alpha" in unknown.stdout
    assert "'north'" in unknown.stderr


async def test_images_and_metadefs_are_pushed_and_pushing_again_is_harmless(
    two: RunningRegions,
) -> None:
    made = await two.cli(
        "image", "create", "tool", "--url", "https://i.example/t.iso", "--sha256", SHA, "-q"
    )
    assert (await read(two, "image", "push", "tool", "--to", "west"))[0]["result"] == "made"
    assert (await read(two, "image", "push", "--all", "--to", "all"))[0]["result"] == "same"
    images = await read(two, "image", "list", "--regions", "all")
    assert [one["uuid"] for one in images] == [made.stdout.strip()] * 2
    await two.cli("metadef", "create", "cost", "--schema", '{"type": "string"}', "-q")
    await two.cli("metadef", "push", "cost", "--to", "west")
    await two.cli("--region", "west", "metadef", "update", "cost", "--description", "other")
    differs = await two.cli("metadef", "push", "cost", "--to", "west", code=5)
    assert "in description" in differs.stdout
    replaced = await two.cli("metadef", "push", "cost", "--to", "all", "--replace")
    assert "replaced" in replaced.stdout


async def test_a_claim_is_made_where_there_is_room(two: RunningRegions) -> None:
    await two.cli("--region", "west", "provider", "create", "p", "-i", "memory=64GiB", "-q")
    for region in two.names:
        await two.cli("--region", region, "project", "create", "phys", "-q")
    words = ("--project", "phys", "claim", "make", "--regions", "all", "--for", "1h")
    made = await two.cli(*words, "--class", "memory=4GiB", "--name", "c")
    assert "region       west" in made.stdout
    assert "not in east" in made.stderr
    nowhere = await two.cli(*words, "--class", "memory=1TiB", code=7)
    assert "east:" in nowhere.stderr
    assert "west:" in nowhere.stderr


async def test_a_dead_region_is_noted_and_the_other_answers_at_once(two: RunningRegions) -> None:
    others = two.pids("west")
    with two.dead("east"):
        began = time.monotonic()
        await two.cli("project", "create", "gamma", "--context", "west")
        await two.cli("project", "list", "--context", "west")
        assert time.monotonic() - began < 20, "it waits for nobody"
        listed = await two.cli("project", "list", "--regions", "east,west", code=8)
        assert "gamma" in listed.stdout
        assert "region east does not answer" in listed.stderr
    assert two.pids("west") == others, "nothing of it was started again"


@pytest.mark.crash
async def test_regions_that_start_again_know_each_other_as_before(two: RunningRegions) -> None:
    before = await read(two, "region", "list", "--context", "west")
    await two.stop(signal.SIGINT)
    await two.start()
    after = await read(two, "region", "list", "--context", "west")
    assert [one["etag"] for one in after] == [one["etag"] for one in before]
    os.kill(two.pids("east")["supervisor"], signal.SIGKILL)

    async def back() -> bool:
        said = two.said.read_text()
        return said.count("region east is ready") == 2

    await until(back, "the region is started again as a whole", 60)
    assert "east" in (await two.cli("project", "list", "--regions", "all")).stdout
