"""The examples of the Python client, run as a user runs them, and checked by mypy."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec
import pytest

from mulligan.client.context import Settings, save_settings
from mulligan.proto import v1
from tests.e2e.fleet import IMAGE
from tests.e2e.region import RunningRegion
from tests.services.conftest import SECRET
from tests.services.yard import Yard

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
WITHIN_S = 90.0


async def example(region: RunningRegion, name: str, *words: str, **more: str) -> list[str]:
    """Run an example to its end; return the lines that it prints."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *words]
    with anyio.fail_after(WITHIN_S):
        environment = {**region.environment, **more}
        ended = await anyio.run_process(command, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stderr == b""
    return ended.stdout.decode().splitlines()


RED = {"MULLIGAN_ACCOUNT": "rita", "MULLIGAN_SECRET": SECRET, "MULLIGAN_PROJECT": "red"}


@pytest.fixture(scope="module")
async def offered(yard: Yard) -> list[str]:
    """Three machines that may be claimed."""
    names = await yard.manageable(3)
    await yard.ask("provide_machine", names, v1.MachineState.AVAILABLE)
    return names


async def test_the_log_is_watched(region: RunningRegion, offered: list[str]) -> None:
    lines = await example(region, "watch_the_log", "0", "3")
    assert all(re.match(r"#\d+ \S+/\S+ \w+\.\w+ by \S*$", line) for line in lines)
    assert len(lines) >= 3


async def test_machines_are_reserved(region: RunningRegion, yard: Yard, offered: list[str]) -> None:
    (line,) = await example(region, "reserve_next_week", "3", **RED)
    claim, *names = line.split()
    assert sorted(names) == sorted(offered)
    found = (await yard.red.resource.get_claim(v1.GetClaimRequest(claim=claim))).claim
    assert found is not None and found.state is v1.ClaimState.RESERVED
    await yard.red.resource.release_claim(v1.ReleaseClaimRequest(claim=claim))


async def test_a_claim_is_tried_out(region: RunningRegion, yard: Yard, offered: list[str]) -> None:
    (line,) = await example(region, "try_a_claim", "3", **RED)
    assert sorted(line.removeprefix("would get ").split()) == sorted(offered)
    claims = [one async for one in yard.red.claims()]
    assert not [c for c in claims if {a.provider for a in c.allocations} & set(offered)]


@pytest.fixture(scope="module")
async def two(
    region: RunningRegion, keyed: RunningRegion, yard: Yard, place: Path
) -> AsyncIterator[dict[str, Path]]:
    """Another region that this one knows, and files of contexts of both: by account."""
    admin = yard.admin
    assert keyed.config.tls.ca is not None
    await admin.meta.connect_region(
        v1.ConnectRegionRequest(
            name=keyed.config.region,
            addresses=list(keyed.context.address),
            ca=keyed.config.tls.ca.read_text(),
        )
    )
    await keyed.tenant("red", "rita")
    (place / "red.secret").write_text(SECRET)
    (place / "keyed.secret").write_text("rita-red-secret")
    red = {
        one.config.region: msgspec.structs.replace(
            one.context, account="rita", project="red", secret_file=str(place / f"{file}.secret")
        )
        for one, file in ((region, "red"), (keyed, "keyed"))
    }
    operators = {one.config.region: one.context for one in (region, keyed)}
    files = {"rita": place / "red.toml", "admin": place / "operators.toml"}
    current = region.config.region
    save_settings(files["rita"], Settings(current=current, contexts=red))
    save_settings(files["admin"], Settings(current=current, contexts=operators))
    yield files
    await admin.meta.disconnect_region(v1.DisconnectRegionRequest(name=keyed.config.region))


async def test_several_regions_are_looked_at_and_one_takes_the_claim(
    region: RunningRegion, two: dict[str, Path], offered: list[str]
) -> None:
    *counts, placed = await example(region, "several_regions", MULLIGAN_CONFIG=str(two["rita"]))
    assert [line.split(":")[0] for line in counts] == [region.config.region, "keyed"]
    assert all(line.endswith(" machines") for line in counts)
    assert re.fullmatch(rf"claim \S+ in {region.config.region}", placed)


async def test_images_and_metadefs_are_shared(
    region: RunningRegion, keyed: RunningRegion, yard: Yard, two: dict[str, Path]
) -> None:
    owner = v1.CreateMetadefRequest(name="shared-owner", description="whom to call")
    await yard.admin.meta.create_metadef(owner)
    settings = str(two["admin"])
    made = await example(region, "share_images", MULLIGAN_CONFIG=settings)
    assert f"keyed: image {IMAGE} made" in made
    assert "keyed: metadef shared-owner made" in made
    again = await example(region, "share_images", MULLIGAN_CONFIG=settings)
    assert {line.split()[3] for line in again} == {"same"}
    there = keyed.client().meta
    changed = v1.UpdateMetadefRequest(
        metadef="shared-owner", update_mask=["description"], description="another"
    )
    await there.update_metadef(changed)
    replaced = await example(region, "share_images", MULLIGAN_CONFIG=settings)
    assert "keyed: metadef shared-owner replaced description" in replaced


async def test_a_machine_is_replayed(region: RunningRegion, offered: list[str]) -> None:
    lines = await example(region, "replay_a_machine", offered[0])
    told = [line.partition(" ")[2] for line in lines]
    assert told[:2] == [
        "machine.operation_started: inspecting",
        "machine.operation_completed: manageable",
    ]
    assert "machine.operation_completed: available" in told


async def test_it_is_counted_who_did_what(region: RunningRegion, offered: list[str]) -> None:
    lines = await example(region, "who_did_what", "1")
    told = [line.split(maxsplit=1)[1] for line in lines]
    assert "done   machine.provide by admin" in told


async def test_a_few_lines_get_a_machine(
    region: RunningRegion, yard: Yard, offered: list[str]
) -> None:
    got: list[str] = []

    async def run(name: str, *words: str) -> None:
        lines = await example(region, name, *words, **RED)
        got.extend(lines)
        if name == "deploy_many":
            await yard.red.release(lines[0].split()[0])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, "get_a_machine", IMAGE)
        tasks.start_soon(run, "get_a_machine_sync", IMAGE)
        tasks.start_soon(run, "deploy_many", "1", IMAGE)
    assert sorted(got) == sorted(f"{machine} runs {IMAGE}" for machine in offered)


async def test_usage_is_exported(region: RunningRegion, offered: list[str]) -> None:
    head, *rows = await example(region, "export_usage")
    assert head == "project,class,unit_hours,peak,claims"
    assert any(row.startswith("red,machine,") for row in rows)


def test_the_examples_are_what_their_types_say() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, sorted(EXAMPLES.glob("*.py")))],
        cwd=EXAMPLES.parents[1],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stdout
