"""The command line against a region, as a user types it."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import anyio
import pytest
import yaml

from mulligan.config import Dsn
from mulligan.tls import fingerprint
from tests.e2e.fleet import Fleet, write_image
from tests.e2e.region import MULLIGAN, RunningRegion, short_folder, until

Page = dict[str, Any]
NODES = ("node-00", "node-01")


class World(NamedTuple):
    """A region that `mulligan init` and `mulligan up` made, with a fleet that nobody knows yet."""

    region: RunningRegion
    fleet: Fleet
    folder: Path

    async def run(self, *words: str, code: int = 0) -> str:
        """Run a command line; return what it printed, or its complaint when it should fail."""
        ended = await self.region.cli(*words)
        assert ended.returncode == code, f"{words}: {ended.returncode}\n{ended.stderr}"
        return ended.stderr if code else ended.stdout

    async def read(self, *words: str) -> list[dict[str, object]]:
        """Run a command line for machines to read."""
        found: list[dict[str, object]] = json.loads(await self.run(*words, "-o", "json"))
        return found


@pytest.fixture(scope="module")
async def world(place: Path) -> AsyncIterator[World]:
    async with RunningRegion(place, "home") as region:
        fleet = Fleet(region, place / "fleet", len(NODES))
        async with fleet.emulator:
            yield World(region, fleet, place)


@pytest.fixture(scope="module")
async def applied(world: World) -> Page:
    """What is in fleet.yaml, which is applied."""
    password = world.folder / "bmc.password"
    password.write_text(f"{world.fleet.emulator.password}\n")
    sha256 = write_image(world.region, "tiny.iso")
    pin = fingerprint(world.fleet.certificate.read_bytes())
    page = {
        "credentials": [{"name": "lab", "username": "admin", "password_file": str(password)}],
        "images": [{"name": "tiny", "url": "file:tiny.iso", "sha256": sha256}],
        "providers": [
            {
                "name": "shelf",
                "type": "storage",
                "inventories": {"storage.block": {"total": "1TiB"}},
            }
        ],
        "machines": [
            {
                "name": name,
                "bmc": {
                    "address": world.fleet.emulator.address,
                    "system": system.uuid,
                    "credential": "lab",
                    "fingerprint": pin,
                },
            }
            for name, system in zip(NODES, world.fleet.emulator.systems, strict=True)
        ],
        "groups": [{"name": "rack-1", "members": [*NODES, "shelf"]}],
    }
    await world.run("apply", "-f", written(world, page), "--yes")
    return page


def written(world: World, page: object) -> str:
    """Write a fleet's file and return its path."""
    path = world.folder / "fleet.yaml"
    path.write_text(yaml.safe_dump(page, sort_keys=False))
    return str(path)


async def test_init_says_what_it_made_and_changes_nothing_again(world: World) -> None:
    before = world.region.paths.config.read_bytes()
    said = await world.run("init", "--region", "home")
    assert f"next: mulligan up --state {world.region.paths.state_dir}" in said
    assert str(world.region.paths.admin_secret) in said
    assert world.region.paths.config.read_bytes() == before
    assert "holds region" in await world.run("init", "--region", "away", code=6)


async def test_up_told_where_to_go_next(world: World) -> None:
    said = (world.folder / "up.out").read_text()
    assert "region home is ready after" in said
    assert "mulligan status" in said
    assert world.region.admin_secret not in said


async def test_a_second_up_on_the_same_folder_is_refused(world: World) -> None:
    assert "already; stop it: kill" in await world.run("up", code=6)


async def test_status_shows_every_service_and_the_log(world: World, applied: Page) -> None:
    shown = await world.run("status")
    for name in ("iam", "meta", "resource", "control", "log", "projector", "executor", "archiver"):
        assert name in shown
    assert world.region.admin_secret not in shown
    assert "admin" in await world.run("whoami")


async def test_apply_again_changes_nothing_and_a_change_shows_first(
    world: World, applied: Page
) -> None:
    again = await world.region.cli("apply", "-f", written(world, applied), "--yes")
    assert again.returncode == 0
    assert again.stdout.strip().endswith("unchanged")
    assert len(again.stdout.splitlines()) == 1
    more = {**applied, "groups": [*applied["groups"], {"name": "rack-2", "members": ["shelf"]}]}
    changed = written(world, more)
    shown = await world.region.cli("apply", "-f", changed, "--dry-run")
    assert "rack-2" in shown.stdout + shown.stderr
    assert "rack-2" not in await world.run("group", "list")
    await world.run("apply", "-f", changed, "--yes")
    assert "rack-2" in await world.run("group", "list")


async def test_a_file_that_is_wrong_is_refused_with_its_place(world: World) -> None:
    wrong = world.folder / "wrong.yaml"
    wrong.write_text("machines:\n  - name: x\n    bcm: {}\n")
    said = await world.run("apply", "-f", str(wrong), "--yes", code=2)
    assert "bcm" in said
    assert "no such file" in (await world.run("apply", "-f", "/nowhere.yaml", code=2)).lower()


async def test_a_machine_goes_from_enrolled_to_running(world: World, applied: Page) -> None:
    for verb in ("inspect", "provide"):
        await world.run("machine", verb, *NODES, "--wait", "--timeout", "60s")
    await world.run("project", "create", "lab")
    mine = ("--project", "lab")
    await world.run(*mine, "claim", "make", "--class", "machine=1", "--for", "1h", "--name", "job")
    await world.run(
        *mine, "machine", "deploy", "job", "--image", "tiny", "--wait", "--timeout", "60s"
    )
    active = [m for m in await world.read("machine", "list") if m["state"] == "active"]
    assert len(active) == 1
    node = str(active[0]["name"])
    why = await world.run("machine", "why", node)
    assert "active" in why
    assert "DeployMachine" in why or "deploy" in why
    shown = await world.run("machine", "show", node)
    assert "02:4d:" in shown, "the network cards that inspection found"
    steps = await world.run("machine", "actions", node)
    assert "insert_media" in steps
    await world.run("machine", "release", node, "--yes")
    assert await world.read(*mine, "claim", "list") == []


async def test_the_log_can_be_read_and_verified(world: World, applied: Page) -> None:
    assert "image.created" in await world.run("log", "tail", "-n", "500")
    history = await world.run("log", "show", "machine/node-00")
    assert "machine.enrolled" in history
    assert "region.created" in await world.run("log", "show", "region/home")
    assert "entries are intact" in await world.run("log", "verify")
    assert "head" in (await world.run("log", "stats")).lower()


async def test_the_read_models_are_what_the_log_says(world: World, applied: Page) -> None:
    verified = await world.run("rebuild", "--verify")
    assert "equal" in verified
    assert "different" not in verified
    rebuilt = await world.run("rebuild", "claims")
    assert "swapped" in rebuilt
    assert "different" not in await world.run("rebuild", "--verify")


@pytest.mark.parametrize(
    ("words", "code", "saying"),
    [
        ("machine show nobody", 3, "machine 'nobody' was not found"),
        ("claim make --class machine=1", 6, "--project"),
        ("--project nowhere claim list", 4, "no role in project"),
        ("provider create x --type toaster", 2, "toaster"),
        ("group create rack-1", 5, "choose another name"),
        ("machine frobnicate", 2, "frobnicate"),
        ("--context nowhere status", 3, "nowhere"),
        ("--address 127.0.0.1:1 machine list", 8, "127.0.0.1:1"),
        ("machine delete shelf --yes", 3, "shelf"),
        ("serve everything", 2, "everything"),
        ("log show pony/1", 3, "pony/1"),
    ],
)
async def test_errors_say_what_to_do_and_end_with_a_code(
    world: World, applied: Page, words: str, code: int, saying: str
) -> None:
    ended = await world.region.cli(*words.split(), MULLIGAN_PATIENCE="2")
    assert ended.returncode == code, ended.stderr
    assert saying in ended.stderr
    assert ended.stderr.startswith("error: ")


REQUEST = """\
groups:
  - name: part
    count: 2
    resources: {custom.part: 1}
isolate: [[part]]
distances: [{from: part, to: part, type: hops, min: row}]
window: {start: 2040-01-01T00:00Z, end: 2040-01-02T00:00Z}
"""


@pytest.fixture(scope="module")
async def parts(world: World, applied: Page) -> str:
    """A file that asks for two of four parts, in different rows; there is a project for it."""
    await world.run("project", "create", "parts")
    await world.run("distance", "create", "hops", "local", "row", "site")
    for row in ("a", "b"):
        await world.run("group", "create", f"row-{row}")
    for n, row in enumerate("aabb"):
        near = [f"hops:row-{row}=local", f"hops:row-{'ab'.replace(row, '')}=row"]
        distances = [word for distance in near for word in ("--distance", distance)]
        await world.run("provider", "create", f"part-{n}", "-i", "custom.part=1", *distances)
    await world.run("group", "add", "row-a", "part-0", "part-1")
    await world.run("group", "add", "row-b", "part-2", "part-3")
    path = world.folder / "request.yaml"
    path.write_text(REQUEST)
    return str(path)


async def test_a_request_is_looked_at_planned_made_and_explained(world: World, parts: str) -> None:
    mine = ("--project", "parts")
    shown = json.loads(
        await world.run(*mine, "claim", "candidates", "-f", parts, "--all", "-o", "json")
    )
    pairs = [sorted(one["allocations"]) for one in shown["candidates"]]
    assert sorted(pairs) == [
        ["part-0", "part-2"],
        ["part-0", "part-3"],
        ["part-1", "part-2"],
        ["part-1", "part-3"],
    ]
    around = await world.run(*mine, "claim", "plan", "-f", parts, "--cordon", "part-0")
    assert "part-1" in around
    assert "part-0" not in around
    closed = await world.run(*mine, "claim", "plan", "-f", parts, "--cordon-group", "row-a")
    assert "cordoned" in closed
    assert await world.read(*mine, "claim", "list") == []
    await world.run(*mine, "claim", "make", "-f", parts, "--name", "pair")
    explained = await world.run(*mine, "claim", "explain", "pair")
    assert "yes, as taken" in explained
    await world.run(*mine, "claim", "make", "-f", parts, "--name", "other")
    refused = await world.run(*mine, "claim", "make", "-f", parts, code=7)
    assert "4 have not enough left in the window" in refused
    await world.run(*mine, "claim", "release", "other", "--yes")
    await world.run(*mine, "claim", "release", "pair", "--yes")


async def test_a_reservation_is_changed_moved_and_saved_from_a_failure(
    world: World, parts: str
) -> None:
    mine = ("--project", "parts")
    week = ("--start", "+1d", "--for", "2d", "--name", "week", "--group", "row-a")
    await world.run(*mine, "reservation", "make", "--class", "custom.part=1", *week)
    await world.run(*mine, "reservation", "extend", "week", "--by", "1d")
    await world.run(*mine, "reservation", "move-start", "week", "--to", "+2d")
    await world.run(*mine, "reservation", "shorten", "week", "--to", "+3d")
    await world.run(*mine, "claim", "move", "week", "--to", "part-3", "--reason", "noise")
    assert "part-3" in await world.run(*mine, "claim", "show", "week")
    await world.run("provider", "cordon", "part-3", "--failed", "--yes")

    async def moved() -> bool:
        return "week" not in await world.run(*mine, "claim", "list", "--provider", "part-3")

    await until(moved, "the reservation leaves what has failed", 15)
    assert "week" in await world.run(*mine, "claim", "list")
    assert await world.read(*mine, "claim", "list", "--stranded") == []
    await world.run("provider", "uncordon", "part-3")


async def test_a_quota_limits_and_usage_counts(world: World, parts: str) -> None:
    mine = ("--project", "parts")
    await world.run("quota", "set", "parts", "custom.part=1", "--max-lease", "10d")
    shown = await world.run("quota", "show", "parts")
    assert "custom.part" in shown
    over = ("claim", "make", "--class", "custom.part=1", "--count", "2", "--for", "1d")
    assert "may use 1 custom.part" in await world.run(*mine, *over, code=7)
    long = ("claim", "make", "--class", "custom.part=1", "--for", "20d")
    assert "longest lease" in await world.run(*mine, *long, code=2)
    used = await world.run("usage", "--to", "+7d", "--by", "project", "--class", "custom.part")
    assert "parts" in used
    supposed = ("claim", "plan", "-f", parts, "--quota", "parts:custom.part=2")
    assert "part-" in await world.run(*mine, *supposed)
    assert "may use 1" in await world.run(*mine, "claim", "plan", "-f", parts)


async def test_following_the_log_shows_what_happens_and_ends_on_an_interrupt(
    world: World, applied: Page
) -> None:
    environment = {**world.region.environment, "PYTHONUNBUFFERED": "1"}
    async with await anyio.open_process(
        [*MULLIGAN, "log", "tail", "-f", "-n", "1"], env=environment, stdin=None
    ) as tail:
        assert tail.stdout is not None
        seen = b""
        with anyio.fail_after(20):
            while b"#" not in seen:
                seen += await tail.stdout.receive()
            await world.run("group", "create", "seen-live")
            while b"group.created" not in seen:
                seen += await tail.stdout.receive()
            tail.send_signal(signal.SIGINT)
            assert await tail.wait() == 130


async def test_init_and_up_need_nothing_but_a_folder() -> None:
    with short_folder() as folder:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "MULLIGAN_STATE": str(folder / "state"),
        }
        up = await anyio.open_process(
            [*MULLIGAN, "up", "--region", "fresh"], env=environment, stderr=None
        )
        try:
            assert up.stdout is not None
            said = b""
            with anyio.fail_after(60):
                while b"is ready after" not in said:
                    said += await up.stdout.receive()
                ended: CompletedProcess[bytes] = await anyio.run_process(
                    [sys.executable, "-m", "mulligan.cli.main", "status"], env=environment
                )
            assert b"executor" in ended.stdout
        finally:
            up.send_signal(signal.SIGINT)
            with anyio.fail_after(30):
                assert await up.wait() == 0
            await up.aclose()


async def test_this_release_decides_all_of_it_again_as_it_was(world: World) -> None:
    page = json.loads(await world.run("replay", "--check", "-o", "json"))
    found = page["check"]
    assert (found["differ"], found["cannot_fold"], found["without"]) == (0, 0, 0), found
    assert found["same"] == found["commits"] > 50
    assert {one["command"] for one in found["commands"]} > {"claim.make", "machine.observe_step"}


async def test_the_past_is_folded_into_a_database_to_ask(world: World, database: Dsn) -> None:
    exported = world.folder / "home.log"
    await world.run("log", "export", str(exported))
    said = await world.run(
        "replay", "--check", "--into", database, "--from", str(exported), "--to", "9"
    )
    assert "entries 1 to 9 of home" in said
    assert "machines" in said
    assert "is not one that a replay made" in await world.run(
        "replay", "--into", world.region.config.postgres.dsn, "--from", str(exported), code=6
    )
