"""The claims half of mulligan-resource: find capacity and take it.

The read model proposes, the log disposes: candidates come from Postgres, and each is taken on exact
state. A candidate that somebody else took is passed over for the next one at once.
"""

import random
from collections.abc import Collection
from datetime import datetime
from typing import NoReturn

import msgspec

from mulligan.commands.runner import Commands, Request
from mulligan.errors import Exhausted, InvalidArgument
from mulligan.events.claim import Allocation, Search
from mulligan.handlers import claim as claims
from mulligan.handlers.claim import Claim
from mulligan.handlers.names import slug_of
from mulligan.handlers.provider import DoesNotFit, Provider
from mulligan.model import ClaimId, ProviderId, ResourceClass, Seq, is_uuid, stream_id
from mulligan.proto import v1
from mulligan.queries import claims as queries
from mulligan.queries.candidates import Filter, find_candidates, why_not
from mulligan.queries.freshness import wait_until
from mulligan.services import parse, render
from mulligan.services.caller import caller, request_of
from mulligan.services.objects import fetch, identify, identify_all
from mulligan.services.reading import page_of, wait_for
from mulligan.services.runtime import Runtime

POLICIES = ("random", "pack", "spread")
MAX_ALLOCATIONS = 1000
_SPARE = 8
_ROUNDS = 20


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One request group, read: ``count`` providers that each give all of ``amounts``."""

    name: str
    count: int
    amounts: dict[ResourceClass, int]
    filter: Filter


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What the search proposes; ``short`` is the group for which only ``fitting`` were found."""

    considered: int
    allocations: tuple[Allocation, ...] = ()
    short: Wanted | None = None
    fitting: int = 0


class Placing:
    """Claims and reservations."""

    _rt: Runtime

    @property
    def _commands(self) -> Commands:
        return self._rt.parts.commands

    async def make_claim(self, message: v1.MakeClaimRequest) -> v1.ClaimResponse:
        """Find providers that fit and take them."""
        who = caller()
        project = who.require_project()
        request = request_of(message)
        start, end = self._window(message.window)
        policy = message.policy or "random"
        if policy not in POLICIES:
            raise InvalidArgument("policy", f"{policy!r} is not one of {', '.join(POLICIES)}")
        if message.name:
            slug_of(message.name)
        wanted = await self._wanted(message.groups)
        _require_consumer(message.consumer)
        draft = claims.MakeClaim(
            claim=ClaimId(request.id),
            project=project,
            account=who.account,
            allocations=(),
            start=start,
            end=end,
            name=message.name,
            consumer=message.consumer,
        )
        if await self._commands.earlier(request) is None:
            await self._place(draft, wanted, policy, request)
        return await self._claim_response(request.id)

    async def _place(
        self, draft: claims.MakeClaim, wanted: list[Wanted], policy: str, request: Request
    ) -> None:
        seed = random.getrandbits(31)
        rejected: set[ProviderId] = set()
        considered = 0
        seen = Seq(0)
        for attempt in range(_ROUNDS):
            now = self._commands.now()
            start = max(draft.start, now) if draft.start is not None else now
            claims.check_window(start, draft.end, now)
            head = self._commands.position().seq
            choice = await self._choose(wanted, start, draft.end, policy, seed + attempt, rejected)
            considered += choice.considered
            if choice.short is not None:
                if seen < head:  # the read model may not have what would fit yet
                    seen = await wait_until(self._rt.parts.database, ("providers",), head)
                    continue
                await self._refuse(choice, start, draft.end, rejected)
            search = Search(
                at=head, policy=policy, seed=seed, considered=considered, conflicts=len(rejected)
            )
            command = msgspec.structs.replace(draft, allocations=choice.allocations, search=search)
            try:
                await self._commands.execute(command, request)
                return
            except DoesNotFit as lost:
                rejected.add(lost.provider)
        raise Exhausted(f"others took each of {_ROUNDS} choices first; try again", retry_after=0.5)

    async def _choose(
        self,
        wanted: list[Wanted],
        start: datetime,
        end: datetime | None,
        policy: str,
        seed: int,
        rejected: Collection[ProviderId],
    ) -> Choice:
        allocations: list[Allocation] = []
        used = set(rejected)
        considered = 0
        for group in wanted:
            found = await find_candidates(
                self._rt.parts.database,
                group.amounts,
                start,
                end,
                group.filter,
                policy=policy,
                limit=group.count + _SPARE,
                seed=seed,
                exclude=used,
            )
            considered += len(found)
            chosen = [c.provider for c in found][: group.count]
            if len(chosen) < group.count:
                return Choice(considered=considered, short=group, fitting=len(chosen))
            used.update(chosen)
            allocations += [
                Allocation(provider=p, amounts=group.amounts, group=group.name) for p in chosen
            ]
        return Choice(considered=considered, allocations=tuple(allocations))

    async def _refuse(
        self,
        choice: Choice,
        start: datetime,
        end: datetime | None,
        rejected: Collection[ProviderId],
    ) -> NoReturn:
        group = choice.short
        assert group is not None
        why = await why_not(self._rt.parts.database, group.amounts, start, end, group.filter)
        taken = f"; {len(rejected)} were taken by others meanwhile" if rejected else ""
        raise Exhausted(
            f"group {group.name or '(unnamed)'} asks for"
            f" {group.count} provider{'s' if group.count > 1 else ''} and {choice.fitting}"
            f" fit: {why.text()}{taken}"
        )

    async def _wanted(self, messages: list[v1.RequestGroup]) -> list[Wanted]:
        if not messages:
            raise InvalidArgument("groups", "ask for at least one group of resources")
        wanted: list[Wanted] = []
        for index, message in enumerate(messages):
            field = f"groups[{index}]"
            if any(w.name == message.name for w in wanted):
                raise InvalidArgument(f"{field}.name", f"{message.name!r} is given twice")
            wanted.append(
                Wanted(
                    name=parse.group_name(message.name, f"{field}.name"),
                    count=parse.count(message.count, f"{field}.count"),
                    amounts=parse.amounts(message.resources, f"{field}.resources"),
                    filter=await self._filter(message, field),
                )
            )
        if sum(w.count for w in wanted) > MAX_ALLOCATIONS:
            raise InvalidArgument("groups", f"a claim holds at most {MAX_ALLOCATIONS} allocations")
        return wanted

    async def _filter(self, message: v1.RequestGroup, field: str) -> Filter:
        tags = message.capabilities or v1.CapabilityFilter()
        sets = message.groups or v1.GroupFilter()
        require = parse.capabilities(tags.require, f"{field}.capabilities.require")
        forbid = parse.capabilities(tags.forbid, f"{field}.capabilities.forbid")
        both = set(require) & set(forbid)
        if both:
            raise InvalidArgument(
                f"{field}.capabilities", f"{min(both)} is both required and forbidden"
            )
        return Filter(
            require=require,
            forbid=forbid,
            any_of=tuple(
                parse.capabilities(a.values, f"{field}.capabilities.any_of") for a in tags.any_of
            ),
            groups_any_of=tuple(
                [tuple(await self._groups(a.values, f"{field}.groups.any_of")) for a in sets.any_of]
            ),
            groups_forbid=tuple(await self._groups(sets.forbid, f"{field}.groups.forbid")),
        )

    async def _groups(self, names: list[str], field: str) -> list[str]:
        return await identify_all(self._commands, "group", names, field)

    async def claim_exact(self, message: v1.ClaimExactRequest) -> v1.ClaimResponse:
        """Take the named amounts, all or nothing."""
        who = caller()
        project = who.require_project()
        request = request_of(message)
        start, end = self._window(message.window)
        if not 0 < len(message.allocations) <= MAX_ALLOCATIONS:
            raise InvalidArgument("allocations", f"name 1 to {MAX_ALLOCATIONS}")
        names = [a.provider for a in message.allocations]
        uuids = await identify_all(self._commands, "provider", names, "allocations.provider")
        _require_consumer(message.consumer)
        command = claims.MakeClaim(
            claim=ClaimId(request.id),
            project=project,
            account=who.account,
            allocations=tuple(
                parse.allocation(a, uuid, f"allocations[{i}]")
                for i, (a, uuid) in enumerate(zip(message.allocations, uuids, strict=True))
            ),
            start=start,
            end=end,
            name=message.name,
            consumer=message.consumer,
        )
        await self._commands.execute(command, request)
        return await self._claim_response(request.id)

    async def get_claim(self, message: v1.GetClaimRequest) -> v1.ClaimResponse:
        """Return one claim."""
        return await self._claim_response(await self._claim(message.claim))

    async def list_claims(self, message: v1.ListClaimsRequest) -> v1.ListClaimsResponse:
        """List the claims the caller may see."""
        who = caller()
        position = await wait_for(self._rt, message.freshness, "claims")
        provider = None
        if message.provider:
            provider = await identify(self._commands, "provider", message.provider, "provider")
        states = [_state_name(s) for s in message.states] or sorted(claims.LIVE)
        project = who.project if who.project or not who.is_system else None
        page = await queries.list_claims(
            self._rt.parts.database,
            page_of(self._rt, message.page),
            project=project,
            states=states,
            provider=provider,
        )
        names = await self._provider_names([row.state for row in page.items])
        found = [render.claim(row, self._rt.region, names) for row in page.items]
        return v1.ListClaimsResponse(
            claims=found, next_page_token=page.next_token, position=position
        )

    async def release_claim(self, message: v1.ReleaseClaimRequest) -> v1.ClaimResponse:
        """Give a claim back, and its machines with it."""
        request = request_of(message)
        uuid = await self._claim(message.claim)
        await self._visible(uuid)
        await self._commands.execute(claims.ReleaseClaim(claim=ClaimId(uuid)), request)
        return await self._claim_response(uuid)

    def _window(self, message: v1.Window | None) -> tuple[datetime | None, datetime | None]:
        start, end = parse.window(message)
        now = self._commands.now()
        if end is not None and end <= now:
            raise InvalidArgument("window.end", "the window lies in the past")
        return start, end

    async def _claim(self, text: str) -> str:
        who = caller()
        if is_uuid(text) or not text:
            return await identify(self._commands, "claim", text, "claim")
        return await identify(self._commands, "claim", text, "claim", who.require_project())

    async def _visible(self, uuid: str) -> Claim:
        state: Claim = (await fetch(self._commands, "claim", uuid)).state
        caller().require_own("claim", uuid, state.project)
        return state

    async def _claim_response(self, uuid: str) -> v1.ClaimResponse:
        known = await fetch(self._commands, "claim", uuid)
        state: Claim = known.state
        caller().require_own("claim", uuid, state.project)
        claim = render.claim(known, self._rt.region, await self._provider_names([state]))
        return v1.ClaimResponse(claim=claim, position=render.position(self._commands.position()))

    async def _provider_names(self, found: list[Claim]) -> dict[str, str]:
        uuids = list(dict.fromkeys(a.provider for c in found for a in c.allocations))
        known = await self._commands.states([stream_id("provider", p) for p in uuids])
        names: dict[str, str] = {}
        for uuid in uuids:
            state: Provider | None = known[stream_id("provider", uuid)].state
            names[uuid] = state.name if state is not None else ""
        return names


def _require_consumer(text: str) -> None:
    if text and not is_uuid(text):
        raise InvalidArgument("consumer", f"{text!r} is not a UUID in lower case")


def _state_name(state: v1.ClaimState) -> str:
    name = v1.ClaimState(state).name
    if not name or name == "UNSPECIFIED":
        raise InvalidArgument("states", "name a state")
    return name.lower()
