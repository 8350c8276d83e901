"""Every RPC, as the protos have them, by every caller: what is granted, and what stays unseen."""

import re
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import anyio
import pytest
from grpclib import GRPCError, Status

from mulligan.handlers import roles
from mulligan.model import new_id
from mulligan.proto import v1
from mulligan.proto.v1 import PERMISSIONS
from mulligan.services.dry_runs import rpc_name
from tests.e2e.region import RunningRegion
from tests.services.matrix_requests import MESSAGES, RPCS, Rpc, Site, made, sites
from tests.services.matrix_world import (
    PROJECT_ROLES,
    SYSTEM_ROLES,
    Outcome,
    World,
    bad_tokens,
    plain,
    refused,
    signer_of,
)

ABSENT = "018f0000-0000-7000-8000-000000000000"
AT_ONCE = 12
MOMENT_S = 0.4
"""Streams are read for so long."""
NO_ROOM = "too many of your streams"
PATIENCE_S = 30.0
"""On a busy machine, streams that were ended take so long to give up their places, at most."""

TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")
OPEN = frozenset({"public", "authenticated"})
BROKEN = frozenset({Status.INTERNAL, Status.UNKNOWN, Status.UNIMPLEMENTED, Status.DATA_LOSS})
OWNED = frozenset(
    {"account", "application", "claim", "machine", "metadef", "project", "provider", "userdata"}
)
"""Kinds of objects that one project has and another must not learn of."""

KNOWN_TO_ALL = {
    "Allocation.provider": "any capacity may be claimed by name: candidates give it",
    "MoveClaimRequest.target": "as for a claim",
    "RequestGroup.in_tree": "a search may be bounded by any part of the fleet",
}
"""Fields that may tell an object of another project from none, and why that is no harm."""

LETS_IN = "BindRoleRequest.account"
"""An owner may let in any account whose UUID it was told, so this one is not asked."""

SECRET_IS_WRONG = "Iam.ChangeSecret"
"""Answers UNAUTHENTICATED to whoever is: by the old secret, which the matrix does not know."""

private = [rpc for rpc in RPCS if PERMISSIONS[rpc.path] != "public"]
guarded = [rpc for rpc in private if PERMISSIONS[rpc.path] not in OPEN]


async def head(world: World) -> v1.Position:
    status = await world.call("log.get_log_status", v1.GetLogStatusRequest())
    position: v1.Position = status.head
    return position


async def ask(world: World, rpc: Rpc, message: Any, token: str) -> Outcome:
    """Call an RPC, once there is room for another stream of its caller's."""
    with anyio.fail_after(PATIENCE_S):
        while NO_ROOM in (outcome := await asked_once(world, rpc, message, token)).said:
            await anyio.sleep(MOMENT_S)
    return outcome


async def asked_once(world: World, rpc: Rpc, message: Any, token: str) -> Outcome:
    """Call an RPC; of a stream, hear what comes within a moment."""
    try:
        if not rpc.streams:
            answer = await world.edge.call(rpc.method, message, token)
            return Outcome(Status.OK, plain(answer))
        heard: list[str] = []
        service, _, name = rpc.method.partition(".")
        stub = getattr(v1, f"{service.capitalize()}Stub")(world.edge.channel(service))
        metadata = {"authorization": f"Bearer {token}"} if token else {}
        with anyio.move_on_after(MOMENT_S):
            heard.extend(
                [plain(one) async for one in getattr(stub, name)(message, metadata=metadata)]
            )
        return Outcome(Status.OK, "\n".join(heard))
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


def granted(role: str, rpc: Rpc) -> bool:
    """Whether a role may call; a dry run is granted as the command is, here its first."""
    path = rpc.path
    if rpc.name == "DryRun":
        path = path.replace("DryRun", rpc_name(MESSAGES[rpc.request].field[0].name))
    permission = PERMISSIONS[path]
    return permission in OPEN or roles.grants([role], permission)


async def test_without_a_grant_nothing_is_looked_at(world: World) -> None:
    callers = {
        **{role: world.tokens[role] for role in (*SYSTEM_ROLES, "none")},
        **{role: world.tokens[f"green.{role}"] for role in PROJECT_ROLES},
    }

    async def denied(role: str, rpc: Rpc) -> list[str]:
        found = [
            await ask(world, rpc, message, callers[role])
            for message in (getattr(v1, rpc.request)(), made(rpc.request, own(world, "green")))
        ]
        expected = {Status.PERMISSION_DENIED}
        if role == "none":
            expected.add(Status.UNAUTHENTICATED)
        return [f"{role} {rpc}: {one}" for one in found if one.status not in expected]

    lacking = [(role, rpc) for role in callers for rpc in guarded if not granted(role, rpc)]
    assert len(lacking) > 300
    await require_all(partial(denied, role, rpc) for role, rpc in lacking)


async def test_a_token_that_is_not_good_opens_nothing(world: World, region: RunningRegion) -> None:
    tokens = await bad_tokens(world, await signer_of(region, world))
    await world.call(  # every service knows by now who is disabled, revoked or gone
        "control.list_images",
        v1.ListImagesRequest(freshness=v1.Freshness(at_least=await head(world))),
    )

    async def turned_away(kind: str, rpc: Rpc) -> list[str]:
        found = await ask(world, rpc, made(rpc.request, own(world, "green")), tokens[kind])
        return [] if found.status is Status.UNAUTHENTICATED else [f"{kind} {rpc}: {found}"]

    await require_all(partial(turned_away, kind, rpc) for kind in tokens for rpc in private)


def looks_missing(foreign: Outcome, absent: Outcome, sent: str, instead: str) -> bool:
    """Tell whether an object of another project was answered as one that is not there."""
    as_absent = TIME.sub("TIME", absent.said.replace(instead, sent))
    return (foreign.status, TIME.sub("TIME", foreign.said)) == (absent.status, as_absent)


def told_apart(site: Site, *, by_name: bool) -> bool:
    """Whether a field may tell another project's object from none."""
    if str(site) in KNOWN_TO_ALL:
        return True
    reads_it = {"GetProviderRequest", "ListUsageRequest"}
    return by_name and site.ref.kind == "provider" and site.message not in reads_it


@pytest.mark.parametrize("role", PROJECT_ROLES)
async def test_another_project_s_objects_are_as_none_and_untouched(world: World, role: str) -> None:
    token, marks = world.tokens[f"blue.{role}"], world.marks("red")
    before = await head(world)

    async def compared(rpc: Rpc, site: Site, *, by_name: bool) -> list[str]:
        theirs = world.objects["red"][site.ref.kind]
        sent = theirs.name if by_name else theirs.uuid
        instead = f"n{new_id()[-12:]}-none" if by_name else ABSENT
        foreign, absent = [
            await ask(world, rpc, made(rpc.request, own(world, "blue"), {site: key}), token)
            for key in (sent, instead)
        ]
        wrong = leaked(rpc, foreign, marks, sent)
        if told_apart(site, by_name=by_name):
            return wrong
        if not looks_missing(foreign, absent, sent, instead):
            wrong.append(f"{rpc} {site}={sent}: {foreign} but absent: {absent}")
        return wrong

    asked = [
        (rpc, site, by_name)
        for rpc in private
        if granted(role, rpc)
        for site in sites(rpc.request)
        if site.ref.kind in OWNED and str(site) != LETS_IN
        for by_name in (False, True)
    ]
    assert len(asked) > 40
    await require_all(partial(compared, rpc, site, by_name=by_name) for rpc, site, by_name in asked)
    assert await touched(world, before, "blue", "red") == []


def leaked(rpc: Rpc, outcome: Outcome, marks: Iterable[str], *sent: str) -> list[str]:
    """Return which marks of a project an answer to another one has in it, but what that sent."""
    said = outcome.said
    for one in sent:
        said = said.replace(one, "")
    return [f"{rpc} tells {mark}: {outcome}" for mark in marks if mark in said]


async def touched(world: World, before: v1.Position, actor: str, victim: str) -> list[str]:
    """Return what accounts of one project wrote into streams of another since a position."""
    accounts = {world.objects[actor][role].uuid for role in PROJECT_ROLES}
    theirs = {o.uuid for kind, o in world.objects[victim].items() if kind in OWNED}
    request = v1.ReadLogRequest(first=before.seq + 1)
    stub = v1.LogStub(world.edge.channel("log"))
    metadata = {"authorization": f"Bearer {world.admin}"}
    return [
        f"{record.command} wrote {event.stream}"
        async for record in stub.read_log(request, metadata=metadata, timeout=20)
        if record.account in accounts
        for event in record.events
        if any(uuid in event.stream for uuid in theirs)
    ]


@pytest.mark.parametrize("role", PROJECT_ROLES)
async def test_no_answer_tells_of_another_project(world: World, role: str) -> None:
    token, marks = world.tokens[f"blue.{role}"], world.marks("red")

    async def asked(rpc: Rpc) -> list[str]:
        wrong = []
        for message in (getattr(v1, rpc.request)(), made(rpc.request, own(world, "blue"))):
            if str(rpc) in {"Iam.Logout", "Control.ReleaseMachine", "Resource.ReleaseClaim"}:
                continue
            wrong += leaked(rpc, await ask(world, rpc, message, token), marks)
        return wrong

    await require_all(partial(asked, rpc) for rpc in private if granted(role, rpc))


@pytest.mark.parametrize("role", [*SYSTEM_ROLES, *PROJECT_ROLES])
async def test_what_is_granted_is_neither_refused_nor_broken(world: World, role: str) -> None:
    system = role in SYSTEM_ROLES
    token = world.tokens[role if system else f"green.{role}"]
    answered = 0

    async def fine(rpc: Rpc) -> list[str]:
        nonlocal answered
        reads = PERMISSIONS[rpc.path].endswith(".read")
        find = (lambda _: ABSENT) if system and not reads else own(world, "green")
        found = await ask(world, rpc, made(rpc.request, find), token)
        answered += found.status is Status.OK
        bad = {*BROKEN, Status.PERMISSION_DENIED, Status.UNAUTHENTICATED}
        if str(rpc) == SECRET_IS_WRONG:
            bad.discard(Status.UNAUTHENTICATED)
        return [f"{rpc}: {found}"] if found.status in bad else []

    last = [rpc for rpc in private if str(rpc) == "Iam.Logout"]
    others = [rpc for rpc in private if rpc not in last and granted(role, rpc)]
    await require_all(partial(fine, rpc) for rpc in others)
    if not system:
        await require_all(partial(fine, rpc) for rpc in last)
    assert answered > 20


async def test_the_time_of_a_refusal_does_not_tell_whether_there_is_something(
    world: World,
) -> None:
    token = world.tokens["blue.owner"]
    methods: dict[str, Callable[[str], Any]] = {
        "resource.get_claim": lambda key: v1.GetClaimRequest(claim=key),
        "control.get_machine": lambda key: v1.GetMachineRequest(machine=key),
        "control.get_user_data": lambda key: v1.GetUserDataRequest(user_data=key),
    }
    kinds = {"get_claim": "claim", "get_machine": "machine", "get_user_data": "userdata"}

    async def timed(method: str, key: str) -> float:
        began = time.perf_counter()
        with pytest.raises(GRPCError) as raised:
            await world.edge.call(method, methods[method](key), token)
        assert raised.value.status is Status.NOT_FOUND
        return time.perf_counter() - began

    for method in methods:
        theirs = world.objects["red"][kinds[method.partition(".")[2]]].uuid
        found: dict[str, list[float]] = {"theirs": [], "absent": []}
        for _ in range(30):
            found["theirs"].append(await timed(method, theirs))
            found["absent"].append(await timed(method, new_id()))
        theirs_s, absent_s = (statistics.median(times) for times in found.values())
        assert abs(theirs_s - absent_s) < 0.005, (method, theirs_s, absent_s)
