"""The audit through the edge: who sees what of what was done and denied."""

import json
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from grpclib import Status

from mulligan.model import utc_now
from mulligan.proto import v1
from tests.e2e.region import RunningRegion, until
from tests.services.conftest import SECRET, Tokens
from tests.services.edge import Edge, refusal

ABSENT = "018f0000-0000-7000-8000-000000000000"


async def listed(edge: Edge, token: str, **wanted: object) -> list[v1.AuditRecord]:
    request = v1.ListAuditRequest(**wanted)  # type: ignore[arg-type]
    request.freshness = v1.Freshness(at_least=(await head(edge, token)))
    return list((await edge.call("log.list_audit", request, token)).records)


async def head(edge: Edge, token: str) -> v1.Position | None:
    status = await edge.call("log.get_log_status", v1.GetLogStatusRequest(), token)
    position: v1.Position | None = status.head
    return position


@pytest.fixture(scope="module")
async def olga(edge: Edge, tokens: Tokens) -> str:
    """An owner of the project red."""
    made = v1.CreateAccountRequest(name="olga", secret=SECRET)
    await edge.call("iam.create_account", made, tokens.admin)
    binding = v1.RoleBinding(role="owner", project="red")
    request = v1.BindRoleRequest(account="olga", binding=binding)
    await edge.call("iam.bind_role", request, tokens.admin)
    return await edge.token("olga", SECRET, "red")


async def made_by(edge: Edge, token: str, name: str) -> str:
    request = v1.CreateUserDataRequest(name=name, content=b"x")
    return str((await edge.call("control.create_user_data", request, token)).user_data.uuid)


async def test_a_record_says_who_when_where_how_and_what(edge: Edge, tokens: Tokens) -> None:
    me = await edge.call("iam.who_am_i", v1.WhoAmIRequest(), tokens.red)
    since = utc_now() - timedelta(seconds=2)
    uuid = await made_by(edge, tokens.red, "audited")
    records = await listed(edge, tokens.admin, account="rita", project="red", from_=since)
    record = next(r for r in records if f"userdata/{uuid}" in r.objects)
    assert (record.account, record.project, record.outcome) == (me.account, me.project, "done")
    assert record.commit == uuid
    assert record.at is not None
    assert record.position is not None
    assert record.credential.startswith("secret:")
    assert since < record.at < utc_now()
    assert await listed(edge, tokens.admin, account="rita", to=since - timedelta(days=1)) == []
    older = await listed(edge, tokens.admin, account=me.account, oldest_first=True)
    newer = await listed(edge, tokens.admin, account=me.account)
    assert [r.commit for r in older] == [r.commit for r in reversed(newer)]


async def test_a_denied_attempt_is_in_the_audit_with_what_lacked(
    edge: Edge, tokens: Tokens, olga: str
) -> None:
    me = await edge.call("iam.who_am_i", v1.WhoAmIRequest(), tokens.reader)
    for _ in range(3):
        request = v1.CreateUserDataRequest(name="no", content=b"x")
        refused = await refusal(edge.call("control.create_user_data", request, tokens.reader))
        assert refused.status is Status.PERMISSION_DENIED
    found: list[v1.AuditRecord] = []

    async def recorded() -> bool:
        found[:] = await listed(edge, tokens.admin, account="rob", outcome="denied")
        return sum(r.count for r in found if r.command == "Control.CreateUserData") >= 3

    await until(recorded, "the denied attempts are in the log", 15)
    record = next(r for r in found if r.command == "Control.CreateUserData")
    assert (record.account, record.project) == (me.account, me.project)
    assert (record.reason, record.permission) == ("permission", "control.userdata.write")
    assert record.peer == "127.0.0.1"
    seen = await listed(edge, olga, outcome="denied")
    assert "Control.CreateUserData" in {r.command for r in seen}, "the owner of the project"
    assert await listed(edge, tokens.red, outcome="denied") == [], "a member is not"
    assert {r.outcome for r in await listed(edge, tokens.red)} == {"done"}
    services = await listed(edge, tokens.admin, account="service:control", outcome="denied")
    assert services == []


async def test_tenants_see_their_own_project_alone(edge: Edge, tokens: Tokens, olga: str) -> None:
    reds = await made_by(edge, tokens.red, "reds-own")
    await made_by(edge, tokens.blue, "blues-own")
    me = await edge.call("iam.who_am_i", v1.WhoAmIRequest(), tokens.red)
    for token in (tokens.red, tokens.reader, olga):
        records = await listed(edge, token)
        assert {r.project for r in records} == {me.project}
        assert any(r.commit == reds for r in records)
    assert not any(r.commit == reds for r in await listed(edge, tokens.blue))
    assert await listed(edge, tokens.blue, account=me.account) == []
    assert await listed(edge, tokens.blue, account=ABSENT) == []
    assert await listed(edge, tokens.red, project="red") == await listed(edge, tokens.red)


async def test_another_project_and_an_absent_one_look_the_same(edge: Edge, tokens: Tokens) -> None:
    reds = (await edge.call("iam.who_am_i", v1.WhoAmIRequest(), tokens.red)).project
    for there, absent in ((reds, ABSENT), ("red", "dev")):
        texts = set()
        for project in (there, absent):
            request = v1.ListAuditRequest(project=project)
            refused = await refusal(edge.call("log.list_audit", request, tokens.blue))
            assert refused.status is Status.NOT_FOUND
            texts.add(refused.message.replace(project, "PROJECT"))
        assert len(texts) == 1
    for account in ("rita", "nobody"):
        request = v1.ListAuditRequest(account=account)
        refused = await refusal(edge.call("log.list_audit", request, tokens.blue))
        assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("account",))


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (v1.ListAuditRequest(outcome="maybe"), "outcome"),
        (v1.ListAuditRequest(from_=utc_now(), to=utc_now() - timedelta(hours=1)), "to"),
        (v1.ListAuditRequest(page=v1.Page(token="x")), "page.token"),
        (v1.ListAuditRequest(page=v1.Page(size=10_000)), "page.size"),
    ],
)
async def test_what_is_malformed_is_said_to_be(
    edge: Edge, tokens: Tokens, request_: v1.ListAuditRequest, field: str
) -> None:
    refused = await refusal(edge.call("log.list_audit", request_, tokens.admin))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, (field,))
    if field == "outcome":
        unknown = v1.ListAuditRequest(account="nobody")
        absent = await refusal(edge.call("log.list_audit", unknown, tokens.admin))
        assert absent.status is Status.NOT_FOUND


async def test_people_read_names_and_programs_lines_of_json(
    edge: Edge, tokens: Tokens, region: RunningRegion, tmp_path: Path
) -> None:
    uuid = await made_by(edge, tokens.red, "told")
    table = await region.cli("audit", "--account", "rita", "--from", "-1h", "--limit", "3")
    assert table.returncode == 0, table.stderr
    newest = table.stdout.splitlines()[1]
    assert " rita " in newest
    assert " red " in newest
    assert "userdata/told" in newest
    file = anyio.Path(tmp_path / "audit.jsonl")
    done = await region.cli("audit", "--project", "red", "--done", "--export", str(file))
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (await file.read_text()).splitlines()]
    assert records[-1]["commit"] == uuid
    assert [r["at"] for r in records] == sorted(r["at"] for r in records)
