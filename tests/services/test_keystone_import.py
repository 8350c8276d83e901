"""Keystone's users, projects and roles, taken over into a running region by the command line."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from mulligan.cli.keystone_plan import uuid_of
from mulligan.proto import v1
from tests.cli.test_keystone import assignment, of, on, project, user
from tests.e2e.region import RunningRegion
from tests.services.conftest import Tokens
from tests.services.edge import Edge

TOP, BELOW, OFF = "e1" * 16, "e2" * 16, "e3" * 16
KIM, KAI, KEN = "f1" * 16, "f2" * 16, "f3" * 16
LISTINGS: tuple[dict[str, Any], ...] = (
    {
        "projects": [
            project(TOP, "ks-top"),
            project(BELOW, "ks-below", TOP),
            project(OFF, "ks-off", enabled=False),
        ]
    },
    {"users": [user(KIM, "kim"), user(KAI, "kai"), user(KEN, "ken", enabled=False)]},
    {"roles": [{"id": "r1", "name": "admin"}, {"id": "r3", "name": "reader"}]},
    {
        "role_assignments": [
            assignment("r1", of(KIM), on(TOP)),
            assignment("r3", of(KAI), on(BELOW)),
            assignment("r3", of(KEN), {"system": {"all": True}}),
        ]
    },
)


async def account(edge: Edge, tokens: Tokens, name: str) -> v1.Account:
    asked = v1.GetAccountRequest(account=name)
    found: v1.Account = (await edge.call("iam.get_account", asked, tokens.admin)).account
    return found


async def test_what_keystone_lists_is_planned_made_and_found_again(
    region: RunningRegion, edge: Edge, tokens: Tokens, tmp_path: Path
) -> None:
    command = ["iam", "import", "keystone"]
    for number, listing in enumerate(LISTINGS):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(listing))
        command += ["-f", str(file)]

    async def typed(*options: str) -> CompletedProcess[str]:
        ended = await region.cli(
            *command,
            *options,
            MULLIGAN_ADDRESS=region.context.address[0],
            MULLIGAN_CA=region.context.ca,
            MULLIGAN_ACCOUNT="admin",
            MULLIGAN_SECRET=region.admin_secret,
        )
        assert ended.returncode == 0, ended.stderr
        return ended

    shown = await typed("--dry-run")
    assert "+ project ks-below under ks-top" in shown.stdout
    assert "+ role owner on ks-top for kim" in shown.stdout
    assert "~ account ken disabled" in shown.stdout
    known = v1.ResolveRequest(kind="account", names=["kim", "kai", "ken"])
    assert (await edge.call("meta.resolve", known, tokens.admin)).names == []

    kept = tmp_path / "secrets"
    await typed("--secrets-to", str(kept), "--yes")
    assert kept.stat().st_mode & 0o777 == 0o600
    secrets = dict(line.split("\t") for line in kept.read_text().splitlines())
    kim = await account(edge, tokens, "kim")
    assert kim.uuid == uuid_of(KIM)
    assert [(r.role, r.project) for r in kim.roles] == [("owner", uuid_of(TOP))]
    assert await edge.token("kim", secrets["kim"], "ks-below"), "a role reaches down the tree"
    ken = await account(edge, tokens, "ken")
    assert (ken.disabled, [r.role for r in ken.roles]) == (True, ["auditor"])
    off = v1.GetProjectRequest(project="ks-off")
    assert (await edge.call("iam.get_project", off, tokens.admin)).project.disabled

    again = await typed("--yes")
    assert "+" not in again.stdout
    assert "9 there already" in again.stdout
