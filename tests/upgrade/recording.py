"""What a release writes, written by that release: run with its tree as PYTHONPATH.

``tests.upgrade.record`` runs it, in the tree of the last release, whose code all imports are.
"""

import asyncio
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec

import mulligan
from mulligan.client import Client
from mulligan.events.codec import GENESIS_HASH, Codec, decode_entry, encode_commit, encode_entry
from mulligan.events.envelope import Commit
from mulligan.handlers.kinds import KINDS
from mulligan.log.export_file import Header, Reader, Writer
from mulligan.log.view import link
from mulligan.model import Seq, stream_kind
from mulligan.proto import v1
from tests.e2e.fleet import Fleet, rests
from tests.e2e.region import RunningRegion, short_folder

EVERY = "every_event.mlog"
LIVED = "lived.mlog"
STATES = "states.json"
SECRETS = "secrets"
ARCHIVE = "archive"
REGION = "kept"
USER_DATA = b"#cloud-config\nhostname: web\n"
MASTER_KEY = "a2V5IG9mIHRoZSBzdG9yZWQgZm9ybWF0cyBvZiAwLjE="


def every_event(file: Path) -> None:
    """Write the recorded log of every type of event anew, through the release's own codec."""
    codec, prev = Codec(), GENESIS_HASH
    lines = Path("tests/events/recorded_v1.jsonl").read_bytes().splitlines()
    header = Header(
        region=REGION, log_id="every", first=Seq(1), last=Seq(len(lines)), prev=GENESIS_HASH
    )
    with file.open("wb") as opened:
        writer = Writer(opened, header)
        for seq, line in enumerate(lines, 1):
            entry = decode_entry(line)
            commits = [encode_commit(rewritten(commit, codec)) for commit in entry.commits]
            at = entry.at.isoformat().replace("+00:00", "Z")
            value = encode_entry(Seq(seq), prev, at, commits)
            writer.write(seq, value)
            prev = link(seq, prev, value).hash
        writer.finish()


def rewritten(commit: Commit, codec: Codec) -> Commit:
    """Return a commit whose events went through the codec, both ways."""
    events = (codec.record(r.stream, r.version, codec.event(r)) for r in commit.events)
    return msgspec.structs.replace(commit, events=tuple(events))


def folded(files: list[Path]) -> dict[str, dict[str, Any]]:
    """Return the states of every stream of some exports, by file and stream, as they are kept."""
    codec, found = Codec(), {}
    for file in files:
        states: dict[str, Any] = {}
        with Reader.open(file) as reader:
            for stored in reader.entries():
                for commit in stored.entry.commits:
                    for record in commit.events:
                        evolve = KINDS[stream_kind(record.stream)].evolve
                        before = states.get(record.stream)
                        states[record.stream] = evolve(before, codec.event(record), commit.at)
        found[file.name] = states
    return found


async def said(region: RunningRegion, *words: str) -> str:
    """Run a command line that must succeed; return what it printed."""
    ended = await region.cli(*words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


async def furnish(admin: Client, region: RunningRegion, folder: Path) -> None:
    """Make machines, one of which is deployed, and what goes with them."""
    fleet = Fleet(region, folder, 2, slowest=1)
    async with fleet.emulator:
        await fleet.prepare(admin)
        rack = v1.CreateProviderRequest(name="rack", type="component")
        await admin.resource.create_provider(rack)
        await fleet.enrol(admin, fleet.names, "rack")
        await fleet.provide(admin, fleet.names)
        red = await region.tenant("red", "ada")
        await said(region, "archive", "seal")
        await live(red, admin, fleet)


async def live(red: Client, admin: Client, fleet: Fleet) -> None:
    """Claim as a tenant does, deploy, and release again."""
    name = fleet.names[0]
    data = v1.CreateUserDataRequest(name="cloud", content=USER_DATA)
    await red.control.create_user_data(data)
    window = v1.Window(end=datetime.now(UTC) + timedelta(days=1))
    taken = [v1.Allocation(provider=name, amounts={"machine": 1})]
    exact = v1.ClaimExactRequest(name="web", allocations=taken, window=window)
    claim = (await red.resource.claim_exact(exact)).claim
    assert claim is not None
    deploy = v1.DeployMachineRequest(
        machine=name, image="tiny", claim=claim.uuid, user_data="cloud"
    )
    await red.control.deploy_machine(deploy)
    await rests(red, name, v1.MachineState.ACTIVE)
    end = datetime.now(UTC) + timedelta(days=2)
    longer = v1.RescheduleClaimRequest(claim=claim.uuid, end=end)
    await red.resource.reschedule_claim(longer)
    await red.control.release_machine(v1.MachineRequest(machine=name))
    await rests(admin, name, v1.MachineState.AVAILABLE)


async def lived(out: Path) -> None:
    """Run a region as a user does, and keep what it leaves behind."""
    settings = {"MULLIGAN_ARCHIVE_COPY_S": "1", "MULLIGAN_SECRETS_KEY": MASTER_KEY}
    with short_folder() as folder:
        region = RunningRegion(folder, REGION, settings=settings)
        async with region:
            admin = region.client()
            await furnish(admin, region, folder / "yard")
            await said(region, "log", "checkpoint")
            await said(region, "archive", "seal")
            await region.tenant("blue", "bert")
            await said(region, "log", "checkpoint")
            await anyio.sleep(3)  # for the copy
            await said(region, "backup", "secrets", str(out / SECRETS))
            await said(region, "log", "export", str(out / LIVED))
        shutil.copytree(region.paths.state_dir / "archive", out / ARCHIVE)


def main() -> None:
    """Write everything into the folder that is named."""
    out = Path(sys.argv[1])
    assert Path(mulligan.__file__).is_relative_to(Path.cwd()), "this is not that release's code"
    every_event(out / EVERY)
    asyncio.run(lived(out))
    states = folded([out / EVERY, out / LIVED])
    (out / STATES).write_bytes(msgspec.json.encode(states))


if __name__ == "__main__":
    main()
