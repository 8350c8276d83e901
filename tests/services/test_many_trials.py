"""Every command tried out: nothing stays of it, and what it says is what the call itself says."""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from grpclib import GRPCError, Status

from mulligan.handlers import roles
from mulligan.log.etcd import Etcd
from mulligan.log.keys import Keys
from mulligan.model import RegionName, new_id
from mulligan.proto import v1
from mulligan.proto.v1 import PERMISSIONS, READS
from mulligan.services.dry_runs import NOT_TRIED, rpc_name
from mulligan.services.gate.caller import WireCodec, only_field, wire_of
from mulligan.services.runtime import etcd_settings
from tests.e2e.fleet import CREDENTIAL
from tests.e2e.region import RunningRegion
from tests.services.conftest import Tokens
from tests.services.edge import Edge, explained, refusal
from tests.services.matrix_requests import MESSAGES, RPCS, Rpc, Site, made, sites
from tests.services.matrix_world import Outcome, World, plain, refused

ABSENT = "018f0000-0000-7000-8000-000000000000"
AT_ONCE = 12
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")
READING = re.compile(r"(Get|List|Watch|Read|Verify|Diff|WhoAmI)")
BROKEN = frozenset({Status.INTERNAL, Status.UNKNOWN, Status.UNIMPLEMENTED, Status.DATA_LOSS})
OWNED = frozenset({"account", "application", "claim", "machine", "metadef", "project", "userdata"})


class Tried(NamedTuple):
    """A command that can be tried out: its own RPC, and the field of the dry run that takes it."""

    rpc: Rpc
    field: str

    def __str__(self) -> str:
        return f"dry run of {self.rpc}"

    def message(self, inner: Any) -> Any:
        return getattr(v1, f"DryRun{self.rpc.service}Request")(**{self.field: inner})

    @property
    def method(self) -> str:
        return f"{self.rpc.service.lower()}.dry_run"


def _tried() -> Iterable[Tried]:
    rpcs = {str(rpc): rpc for rpc in RPCS}
    for service in ("Iam", "Meta", "Resource", "Control"):
        for field in MESSAGES[f"DryRun{service}Request"].field:
            rpc = rpcs[f"{service}.{rpc_name(field.name)}"]
            assert field.type_name.rpartition(".")[2] == rpc.request, f"{rpc} takes {rpc.request}"
            yield Tried(rpc, field.name)


TRIED = tuple(_tried())


def test_what_changes_something_can_be_tried_out_or_says_why_not() -> None:
    changing = {
        str(rpc)
        for rpc in RPCS
        if rpc.path not in READS and not READING.match(rpc.name) and rpc.name != "DryRun"
    }
    tried = {str(one.rpc) for one in TRIED}
    assert tried | NOT_TRIED.keys() == changing
    assert not tried & NOT_TRIED.keys()


async def try_out(world: World, one: Tried, inner: Any, token: str) -> Outcome:
    try:
        answer = await world.edge.call(one.method, one.message(inner), token)
        return Outcome(Status.OK, answer.to_json())
    except GRPCError as error:
        return refused(error)


async def require_all(calls: Iterable[Callable[[], Awaitable[list[str]]]]) -> None:
    """Make calls, a dozen at a time; fail with what is wrong with any of them."""
    wrong: list[str] = []
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def one(call: Callable[[], Awaitable[list[str]]]) -> None:
        async with limit:
            wrong.extend(await call())

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(one, call)
    assert not wrong, "\n".join(wrong)


def own(world: World, color: str) -> Callable[[str], str]:
    return lambda kind: o.uuid if (o := world.objects[color].get(kind)) is not None else ABSENT


class Stored(NamedTuple):
    """What a region has stored: the log's head, and when in etcd every key was written last.

    The log's own keys and the leases of services are left out: others write these meanwhile.
    """

    head: int
    keys: Mapping[str, int]


async def stored(world: World, region: RunningRegion) -> Stored:
    keys = Keys(RegionName(region.config.region))
    async with Etcd(etcd_settings(region.config)) as etcd:
        found = await etcd.range_prefix(keys.prefix)
    status = await world.call("log.get_log_status", v1.GetLogStatusRequest())
    others = tuple(keys.prefix + one for one in ("log/", "head", "lease/", "archive/"))
    kept = {kv.key: kv.mod_revision for kv in found.kvs if not kv.key.startswith(others)}
    assert any("secret/" in key for key in kept)
    return Stored(status.head.seq, kept)


async def appended(world: World, after: int) -> list[v1.LogRecord]:
    stub = v1.LogStub(world.edge.channel("log"))
    metadata = {"authorization": f"Bearer {world.admin}"}
    request = v1.ReadLogRequest(first=after + 1)
    status = await world.call("log.get_log_status", v1.GetLogStatusRequest())
    if status.head.seq <= after:
        return []
    return [one async for one in stub.read_log(request, metadata=metadata, timeout=20)]


async def test_nothing_stays_of_any_dry_run(world: World, region: RunningRegion) -> None:
    before = await stored(world, region)
    done: dict[str, set[str]] = {}

    async def tried(role: str, one: Tried) -> list[str]:
        inner = made(one.rpc.request, own(world, "green"))
        found = await try_out(world, one, inner, world.tokens[role])
        done.setdefault(str(found.status), set()).add(one.field)
        return [f"{role} {one}: {found}"] if found.status in BROKEN else []

    callers = ("admin", "operator", "green.owner", "green.member")
    await require_all(partial(tried, role, one) for one in TRIED for role in callers)
    assert len(done["Status.OK"]) > 35, done
    after = await stored(world, region)
    assert after.keys == before.keys
    by_people = [one for one in await appended(world, before.head) if "service:" not in one.account]
    assert by_people == []


async def test_a_dry_run_is_refused_as_the_call_is(world: World) -> None:
    """Each is tried out first, and made only where the dry run says that it will be refused."""
    compared = 0

    async def same(role: str, color: str, one: Tried) -> list[str]:
        nonlocal compared
        inner = made(one.rpc.request, own(world, color) if color else lambda _: ABSENT)
        found = await try_out(world, one, inner, world.tokens[role])
        if found.status is Status.OK:
            return []
        compared += 1
        try:
            answer = await world.edge.call(one.rpc.method, inner, world.tokens[role])
            real = Outcome(Status.OK, plain(answer))
        except GRPCError as error:
            real = refused(error)
        alike = _without_times(found) == _without_times(real)
        return [] if alike else [f"{role} {one}: {found} but the call: {real}"]

    cases = [("admin", ""), ("green.owner", "green"), ("green.reader", "green"), ("none", "green")]
    await require_all(partial(same, role, color, one) for one in TRIED for role, color in cases)
    assert compared > 150


def _without_times(outcome: Outcome) -> tuple[Status, str]:
    return outcome.status, ID.sub("ID", TIME.sub("TIME", outcome.said))


async def test_what_is_not_granted_cannot_be_tried_out_either(world: World) -> None:
    async def denied(role: str, one: Tried) -> list[str]:
        inner = made(one.rpc.request, own(world, "green"))
        found = await try_out(world, one, inner, world.tokens[role])
        return [] if found.status is Status.PERMISSION_DENIED else [f"{role} {one}: {found}"]

    lacking = [
        (role, one)
        for role in ("auditor", "green.member", "green.reader")
        for one in TRIED
        if (permission := PERMISSIONS[one.rpc.path]) != "authenticated"
        and not roles.grants([role.rpartition(".")[2]], permission)
    ]
    assert len(lacking) > 100
    await require_all(partial(denied, role, one) for role, one in lacking)


async def test_another_project_s_objects_are_as_none_to_a_dry_run(world: World) -> None:
    marks = world.marks("red")

    async def compared(one: Tried, site: Site) -> list[str]:
        theirs = world.objects["red"][site.ref.kind].uuid
        foreign, absent = [
            await try_out(
                world,
                one,
                made(one.rpc.request, own(world, "blue"), {site: key}),
                world.tokens["blue.owner"],
            )
            for key in (theirs, ABSENT)
        ]
        said = foreign.said.replace(theirs, "")
        wrong = [f"{one} tells {mark}: {foreign}" for mark in marks if mark in said]
        as_absent = Outcome(absent.status, absent.said.replace(ABSENT, theirs))
        if _without_times(foreign) != _without_times(as_absent):
            wrong.append(f"{one} {site}: {foreign} but absent: {absent}")
        return wrong

    asked = [
        (one, site)
        for one in TRIED
        if (permission := PERMISSIONS[one.rpc.path]) == "authenticated"
        or roles.grants(["owner"], permission)
        for site in sites(one.rpc.request)
        if site.ref.kind in OWNED and str(site) != "BindRoleRequest.account"
    ]
    assert len(asked) > 15
    await require_all(partial(compared, one, site) for one, site in asked)


class Pool(NamedTuple):
    """A project with capacity of its own class, and a token of who may claim it."""

    project: str
    class_: str
    providers: list[str]
    token: str


@pytest.fixture
async def pool(edge: Edge, tokens: Tokens) -> Pool:
    name = f"try-{new_id()[-8:]}"
    class_ = f"custom.{name}"
    providers = []
    answer = v1.ProviderResponse()
    for number in range(8):
        request = v1.CreateProviderRequest(
            name=f"{name}-{number}",
            type="compute",
            inventories=[v1.Inventory(resource_class=class_, total=1)],
        )
        answer = await edge.call("resource.create_provider", request, tokens.admin)
        providers.append(answer.provider.uuid)
    ready = v1.ListProvidersRequest(freshness=v1.Freshness(at_least=answer.position))
    await edge.call("resource.list_providers", ready, tokens.admin)
    return Pool("red", class_, providers, tokens.red)


def wish(pool: Pool, **more: Any) -> v1.MakeClaimRequest:
    group = v1.RequestGroup(resources={pool.class_: 1})
    return v1.MakeClaimRequest(request=v1.ResourceRequest(groups=[group]), **more)


async def dry(edge: Edge, token: str, **command: Any) -> v1.DryRunResponse:
    answer = await edge.call("resource.dry_run", v1.DryRunResourceRequest(**command), token)
    assert isinstance(answer, v1.DryRunResponse)
    return answer


def taken_of(answer: v1.DryRunResponse) -> list[str]:
    events = [event for record in answer.records for event in record.events]
    return [e.stream.partition("/")[2] for e in events if e.type == "provider.capacity_taken"]


async def test_a_claim_gets_what_its_dry_run_told(edge: Edge, pool: Pool) -> None:
    told = []
    for _ in range(4):  # the choice is drawn anew for each request
        request = wish(pool, request_id=new_id())
        tried = await dry(edge, pool.token, make_claim=request)
        assert (await dry(edge, pool.token, make_claim=request)).records[0].commit
        claim = (await edge.call("resource.make_claim", request, pool.token)).claim
        assert [a.provider for a in claim.allocations] == taken_of(tried)
        assert claim.uuid == tried.records[0].commit
        told += taken_of(tried)
    assert len(set(told)) == 4


async def test_a_tenant_is_told_what_it_reads_of_its_own_entry(edge: Edge, pool: Pool) -> None:
    request = wish(pool, request_id=new_id())
    tried = await dry(edge, pool.token, make_claim=request)
    answer = await edge.call("resource.make_claim", request, pool.token)
    stub = v1.LogStub(edge.channel("log"))
    at = answer.position.seq
    reading = stub.read_log(
        v1.ReadLogRequest(first=at - 20, last=at), metadata=edge.metadata(pool.token), timeout=20
    )
    [record] = [one async for one in reading if one.commit == request.request_id]
    [would] = tried.records
    assert [(e.stream, e.type, e.version) for e in would.events] == [
        (e.stream, e.type, e.version) for e in record.events
    ]
    assert "considered" not in would.events[0].data
    [taken] = taken_of(tried)
    assert tried.provider_names[taken].startswith("try-")
    assert (would.account, would.command) == (record.account, record.command)


async def test_without_room_the_reasons_are_those_of_the_call(edge: Edge, pool: Pool) -> None:
    for _ in pool.providers:
        await edge.call("resource.make_claim", wish(pool), pool.token)
    tried = await refusal(dry(edge, pool.token, make_claim=wish(pool)))
    real = await refusal(edge.call("resource.make_claim", wish(pool), pool.token))
    assert tried.status is Status.RESOURCE_EXHAUSTED
    assert tried == real


async def test_a_stale_etag_is_refused_in_a_dry_run(edge: Edge, tokens: Tokens, pool: Pool) -> None:
    change = v1.UpdateProviderRequest(
        provider=pool.providers[0], update_mask=["attributes"], attributes={"a": "b"}, etag="99"
    )
    tried = await refusal(dry(edge, tokens.admin, update_provider=change))
    real = await refusal(edge.call("resource.update_provider", change, tokens.admin))
    assert tried == real


async def test_what_was_done_before_is_told_as_that(edge: Edge, pool: Pool) -> None:
    request = wish(pool, request_id=new_id(), name=f"once-{new_id()[-8:]}")
    first = await edge.call("resource.make_claim", request, pool.token)
    tried = await dry(edge, pool.token, make_claim=request)
    assert tried.done_before
    assert tried.records[0].commit == first.claim.uuid
    other = wish(pool, request_id=request.request_id)
    told = await refusal(dry(edge, pool.token, make_claim=other))
    assert told.status is Status.ALREADY_EXISTS


async def test_a_wish_that_is_true_already_would_append_nothing(
    edge: Edge, tokens: Tokens, pool: Pool
) -> None:
    request = v1.UncordonProviderRequest(provider=pool.providers[0])
    tried = await dry(edge, tokens.admin, uncordon_provider=request)
    assert (tried.records, tried.done_before) == ([], False)
    assert tried.position is not None


async def test_all_that_follows_is_told(edge: Edge, tokens: Tokens) -> None:
    """A first quota begins to be counted first; an account goes with what acts for it."""
    name = f"follow-{new_id()[-8:]}"
    project = await edge.call(
        "iam.create_project", v1.CreateProjectRequest(name=name), tokens.admin
    )
    quota = v1.SetQuotaRequest(project=project.project.uuid, limits={"machine": 3})
    first = await dry(edge, tokens.admin, set_quota=quota)
    assert [one.command for one in first.records] == ["quota.track", "quota.set"]
    await edge.call("resource.set_quota", quota, tokens.admin)
    assert (await dry(edge, tokens.admin, set_quota=quota)).records == []

    secret = "a-secret-to-follow"
    made_account = v1.CreateAccountRequest(name=name, secret=secret)
    account = (await edge.call("iam.create_account", made_account, tokens.admin)).account
    bound = v1.BindRoleRequest(
        account=account.uuid, binding=v1.RoleBinding(role="member", project=name)
    )
    await edge.call("iam.bind_role", bound, tokens.admin)
    own_token = await edge.token(name, secret, name)
    app = v1.CreateApplicationCredentialRequest(name="robot", secret=secret)
    await edge.call("iam.create_application_credential", app, own_token)
    gone = v1.DryRunIamRequest(delete_account=v1.DeleteAccountRequest(account=account.uuid))
    told = await edge.call("iam.dry_run", gone, tokens.admin)
    assert [one.command for one in told.records] == ["account.delete", "account.delete"]
    assert await edge.token(name, secret, name), "it is still there"


async def test_a_dry_run_of_nothing_is_refused(edge: Edge, tokens: Tokens) -> None:
    told = await refusal(dry(edge, tokens.admin))
    assert told.fields == ("command",)


async def test_a_denied_dry_run_is_on_record_as_such(edge: Edge, tokens: Tokens) -> None:
    """What somebody may not do is on record though they only tried it out."""
    with pytest.raises(GRPCError) as raised:
        await dry(edge, tokens.reader, delete_group=v1.DeleteGroupRequest(group=ABSENT))
    assert explained(raised.value).status is Status.PERMISSION_DENIED
    with anyio.fail_after(20):
        while True:
            audit = v1.ListAuditRequest(outcome="denied", page=v1.Page(size=200))
            found = await edge.call("log.list_audit", audit, tokens.admin)
            denied = [r for r in found.records if r.command == "Resource.DryRun"]
            if any(r.permission == "resource.groups.write" for r in denied):
                return
            await anyio.sleep(0.3)


async def test_the_command_line_tells_what_the_services_decide(
    region: RunningRegion, world: World, edge: Edge, tokens: Tokens, pool: Pool
) -> None:
    before = (await edge.call("log.get_log_status", v1.GetLogStatusRequest(), tokens.admin)).head
    named = f"tried-{new_id()[-8:]}"
    make = ("claim", "make", "--project", pool.project, "--name", named, "--for", "2h", "--dry-run")
    told = await region.cli(*make, "--class", f"{pool.class_}=1")
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[0].split() == ["claim", named]
    assert re.match(rf"would take  try-\w+-\d  {pool.class_}=1$", lines[1])
    assert lines[3].endswith("(2h)")
    assert f"is the name of claim {named}" in told.stdout
    assert re.search(rf"decided at {region.config.region}:\d+. Nothing was done", told.stderr)
    full = await region.cli(*make, "--class", f"{pool.class_}=9")
    assert (full.returncode, full.stdout) == (7, "")
    assert "fits nowhere" in full.stderr

    held = world.objects["green"]["machine"].name
    power = await region.cli("machine", "power", "off", held, "--dry-run", "-o", "json")
    assert json.loads(power.stdout)[0]["would"] == "power off"
    kept = await region.cli("machine", "delete", held, "--dry-run", "-o", "json")
    assert json.loads(kept.stdout)[0]["would"].startswith("be refused: ")
    assert "0 of 1 machines; nothing was done" in kept.stderr
    admin = (await edge.call("iam.who_am_i", v1.WhoAmIRequest(), tokens.admin)).account
    since = [one.command for one in await appended(world, before.seq) if one.account == admin]
    assert set(since) <= {"account.login"}


async def test_files_are_tried_as_far_as_nothing_in_them_builds_on_something_new(
    region: RunningRegion, world: World, pool: Pool, tmp_path: Path
) -> None:
    fleet, listed = tmp_path / "fleet.yaml", tmp_path / "bmcs.csv"
    named = f"tried-{new_id()[-8:]}"
    fleet.write_text(
        f"groups: [{{name: {named}}}]\nproviders: [{{name: {named}, type: compute}}]\n"
    )
    told = await region.cli("apply", "-f", str(fleet), "--dry-run")
    assert told.returncode == 0, told.stderr
    assert "would accept 1 of 2 changes (the other 1 they decide when" in told.stderr
    fleet.write_text(f"groups: [{{name: {named}}}, {{name: '-'}}]\n")
    refused = await region.cli("apply", "-f", str(fleet), "--dry-run")
    assert refused.returncode != 0
    assert "fleet.yaml" in refused.stderr
    await region.cli("provider", "create", f"{named}-shelf", "--type", "component")
    listed.write_text(
        "name,address,credential\n"
        f"{named},https://{named}.invalid,{CREDENTIAL}\n"
        f"{named}-shelf,https://{named}-2.invalid,{CREDENTIAL}\n"
    )
    rows = await region.cli("machine", "enrol", "-f", str(listed), "--dry-run")
    assert [line.split()[:2] for line in rows.stdout.splitlines()[1:]] == [
        ["would", "enrol"],
        ["would", "be"],
    ]
    assert "1 would be enrolled, 0 are there already, 1 would be refused" in rows.stderr
    assert named not in (await region.cli("group", "list")).stdout


def test_a_command_in_a_dry_run_keeps_the_bytes_that_it_came_in() -> None:
    """By these it is told whether it was done before; not all clients write fields in one order."""
    named, described = v1.CreateMetadefRequest(name="a"), v1.CreateMetadefRequest(description="b")
    inner = bytes(described) + bytes(named)
    came = bytes(v1.DryRunMetaRequest(create_metadef=named))[:1] + bytes([len(inner)]) + inner
    message = WireCodec().decode(came, v1.DryRunMetaRequest)
    command = message.create_metadef
    assert (command.name, command.description) == ("a", "b")
    assert wire_of(command) == inner != bytes(command)
    for broken in (b"", b"\x0a", b"\x0a\x05ab", b"\xff" * 11, came + came):
        assert only_field(broken) is None
