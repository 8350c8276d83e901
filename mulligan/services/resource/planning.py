"""Plans and explanations: the same search, on a state that is not the present one.

A plan forks the state: what is supposed is decided by the handlers themselves and folded over what
is there, and nothing is written. An explanation looks at the fleet as it was.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from mulligan.commands.runner import Commands
from mulligan.errors import Exhausted, FailedPrecondition, InvalidArgument
from mulligan.events.claim import ClaimMade, Search
from mulligan.events.codec import Codec
from mulligan.events.provider import ProviderCordoned, ProviderUncordoned
from mulligan.events.quota import QuotaSet
from mulligan.events.request import ClaimRequest
from mulligan.handlers import claim as claims
from mulligan.handlers import quota
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.decision import Change, Command
from mulligan.handlers.group import Group
from mulligan.handlers.kinds import KINDS
from mulligan.handlers.machine_release import CLEANING_CORDON
from mulligan.handlers.provider import DoesNotFit, Provider
from mulligan.model import (
    ClaimId,
    ProjectId,
    ProviderId,
    ResourceClass,
    Seq,
    StreamId,
    new_id,
    stream_id,
    stream_key,
    stream_kind,
)
from mulligan.placement.fleet import Node
from mulligan.placement.solver import Candidate
from mulligan.proto import v1
from mulligan.queries import audit
from mulligan.queries.database import Database
from mulligan.queries.fork import Fork
from mulligan.queries.freshness import wait_until
from mulligan.queries.past import fork_at
from mulligan.queries.providers import groups_of_each
from mulligan.queries.search import Proposal, find, find_at, reasons
from mulligan.queries.why_not import why_not
from mulligan.services import parse
from mulligan.services.gate import visibility
from mulligan.services.gate.caller import caller
from mulligan.services.objects import fetch, identify, identify_all
from mulligan.services.reading import wait_for
from mulligan.services.resource.claim_views import ClaimViews
from mulligan.services.resource.form import read_request, request_shown
from mulligan.services.resource.placing import taking
from mulligan.services.resource.showing import (
    allocations_named,
    candidate_shown,
    stages_shown,
    why_not_shown,
)

MAX_PLANNED = 100
MAX_SUPPOSED = 10_000
SUPPOSED_CORDON = "supposed"
_codec = Codec()


class Supposed:
    """States as they would be: exact ones, with what was decided on top of them."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self.states: dict[StreamId, Any] = {}

    async def state(self, stream: StreamId) -> Any:
        """Return a state as supposed so far."""
        if stream not in self.states:
            return (await self._commands.state(stream)).state
        return self.states[stream]

    async def load(self, streams: Iterable[StreamId]) -> dict[StreamId, Any]:
        """Return several."""
        wanted = list(dict.fromkeys(streams))
        known = await self._commands.states([s for s in wanted if s not in self.states])
        return {s: self.states[s] if s in self.states else known[s].state for s in wanted}

    async def run(self, command: Command) -> list[Change]:
        """Decide a command and fold what it changes; raise what it raises."""
        states: dict[StreamId, Any] = {}
        while new := [s for s in command.reads(states) if s not in states]:
            states |= await self.load(new)
        changes = command.decide(states, self._commands.now())
        self.fold(changes, states)
        return changes

    def fold(self, changes: Iterable[Change], states: Mapping[StreamId, Any]) -> None:
        """Fold changes over states that were read."""
        now = self._commands.now()
        for stream, event in changes:
            before = self.states.get(stream, states.get(stream))
            self.states[stream] = KINDS[stream_kind(stream)].evolve(before, event, now)

    async def fork(self, database: Database) -> Fork:
        """Return the providers that differ, for the search."""
        changed = {
            ProviderId(stream_key(stream)): state
            for stream, state in self.states.items()
            if stream_kind(stream) == "provider" and state is not None
        }
        groups = await groups_of_each(database, list(changed))
        nodes = {
            one: Node(provider=_rested(state), groups=groups.get(one, frozenset()))
            for one, state in changed.items()
        }
        return Fork(nodes=nodes)


def _rested(state: Provider) -> Provider:
    """A machine given back is thought of as cleaned already."""
    left = {cause: note for cause, note in state.cordons.items() if cause != CLEANING_CORDON}
    return msgspec.structs.replace(state, cordons=left)


class Planning(ClaimViews):
    """Dry runs and explanations."""

    async def plan_claims(self, message: v1.PlanClaimsRequest) -> v1.PlanClaimsResponse:
        """Say what each request would get, on top of those before and of what is supposed."""
        who = caller()
        project = who.require_project()
        if not 0 < len(message.claims) <= MAX_PLANNED:
            raise InvalidArgument("claims", f"plan 1 to {MAX_PLANNED} claims")
        position = await wait_for(self._rt, message.freshness, "providers", "claims")
        supposed = Supposed(self._commands)
        if message.suppose is not None:
            await self._suppose(message.suppose, supposed)
        drafts = []
        for number, planned in enumerate(message.claims):
            prefix = f"claims[{number}].request"
            drafts.append(
                (planned.name, await read_request(self._commands, planned.request, prefix))
            )
        plans = []
        for name, wanted in drafts:
            draft = claims.MakeClaim(
                claim=ClaimId(new_id()), project=project, account=who.account, allocations=()
            )
            plans.append(await self._plan(name, wanted, draft, message.seed, supposed))
        return v1.PlanClaimsResponse(plans=plans, position=position)

    async def _plan(
        self,
        name: str,
        wanted: ClaimRequest,
        draft: claims.MakeClaim,
        seed: int,
        supposed: Supposed,
    ) -> v1.Plan:
        database = self._rt.parts.database
        rejected: dict[ProviderId, None] = {}
        while True:
            fork = await supposed.fork(database)
            now = self._commands.now()
            try:
                found = await find(database, wanted, now, seed=seed, rejected=rejected, fork=fork)
            except Exhausted as given_up:
                return v1.Plan(name=name, refusal=str(visibility.told(given_up)))
            if not found.candidates:
                openly = visibility.sees_all()
                why = await reasons(
                    database, wanted, found.start, found.end, fork=fork, openly=openly
                )
                return v1.Plan(name=name, why_not=why_not_shown(why))
            search = Search(at=found.loaded.seq, policy=wanted.policy, seed=seed, considered=0)
            try:
                await supposed.run(taking(draft, wanted, found, search))
            except DoesNotFit as lost:  # the read model lags; the exact state knows better
                rejected[lost.provider] = None
                continue
            except (Exhausted, InvalidArgument) as refused:  # by a quota: use, or longest lease
                return v1.Plan(name=name, refusal=str(visibility.told(refused)))
            return v1.Plan(name=name, candidate=await self._shown(found.candidates[0], found))

    async def _suppose(self, message: v1.Supposition, supposed: Supposed) -> None:
        who = caller()
        for uuid in await self._supposed_closed(message):
            states = await supposed.load([stream_id("provider", uuid)])
            event = ProviderCordoned(cause=SUPPOSED_CORDON)
            if states[stream_id("provider", uuid)] is not None:
                supposed.fold([Change(stream_id("provider", uuid), event)], states)
        for uuid in await identify_all(
            self._commands, "provider", message.uncordon, "suppose.uncordon"
        ):
            stream = stream_id("provider", uuid)
            states = await supposed.load([stream])
            state: Provider | None = states[stream]
            causes = () if state is None else tuple(state.cordons)
            supposed.fold([Change(stream, ProviderUncordoned(cause=c)) for c in causes], states)
        for number, text in enumerate(message.release):
            uuid = await self._claim(text, f"suppose.release[{number}]")
            await self._visible(uuid)
            await supposed.run(ReleaseClaim(claim=ClaimId(uuid)))
        for number, one in enumerate(message.quotas):
            field = f"suppose.quotas[{number}]"
            uuid = await identify(self._commands, "project", one.project, f"{field}.project")
            who.require_own("project", one.project, uuid)
            await self._suppose_quota(ProjectId(uuid), one, supposed)

    async def _supposed_closed(self, message: v1.Supposition) -> list[str]:
        found = await identify_all(self._commands, "provider", message.cordon, "suppose.cordon")
        groups = await identify_all(
            self._commands, "group", message.cordon_groups, "suppose.cordon_groups"
        )
        for uuid in groups:
            group: Group = (await fetch(self._commands, "group", uuid)).state
            found += group.members
        if len(found) > MAX_SUPPOSED:
            raise InvalidArgument("suppose.cordon", f"at most {MAX_SUPPOSED} providers")
        return list(dict.fromkeys(found))

    async def _suppose_quota(
        self, project: ProjectId, message: v1.Quota, supposed: Supposed
    ) -> None:
        limits = {ResourceClass(c): n for c, n in message.limits.items()}
        max_lease = None
        if message.max_lease is not None:
            max_lease = parse.seconds(message.max_lease, "suppose.quotas.max_lease")
        quota.check_limits(limits, max_lease)
        stream = stream_id("quota", project)
        states = await supposed.load([stream])
        if states[stream] is None or not states[stream].baselined:
            raise FailedPrecondition(
                f"project {message.project} has no quota yet, so its use is not counted; set one"
            )
        event = QuotaSet(limits=limits, max_lease=max_lease)
        supposed.fold([Change(stream, event)], states)

    async def _shown(self, candidate: Candidate, found: Proposal) -> v1.Candidate:
        shown = candidate_shown(candidate, found.start, found.end)
        names = await self._provider_names(a.provider for a in candidate.allocations)
        allocations_named(shown.allocations, names)
        return shown

    async def explain_claim(self, message: v1.ExplainClaimRequest) -> v1.ExplainClaimResponse:
        """Run the search of a claim again, on the fleet as it was when it ran."""
        uuid = await self._claim(message.claim)
        claim = await self._visible(uuid)
        await wait_for(self._rt, None, "audit", "providers")
        made = await self._made(claim)
        search = made.search
        answer = await self._claim_response(uuid)
        if search is None or search.request is None:
            return v1.ExplainClaimResponse(
                claim=answer.claim,
                text="its providers were named by its maker; nothing was searched",
            )
        async with self._rt.parts.database.snapshot() as moment:
            fork = await fork_at(moment, Seq(search.at))
            found = await find_at(
                moment,
                search.request,
                _searched_from(made, search),
                made.end,
                seed=search.seed,
                limit=search.rank + 1,
                rejected=search.rejected,
                fork=fork,
                breadth=search.breadth,
            )
            group = search.request.groups[0]
            counts = await why_not(moment, group, found.start, found.end, fork=fork)
        candidate = found.candidates[search.rank] if len(found.candidates) > search.rank else None
        same = candidate is not None and _same(candidate, made)
        openly = visibility.sees_all()
        names = await self._provider_names(search.rejected if openly else ())
        told = v1.ExplainClaimResponse(
            claim=answer.claim,
            searched_at=v1.Position(region=self._rt.region, seq=search.at),
            request=request_shown(search.request),
            policy=search.policy,
            seed=search.seed,
            candidate=None if candidate is None else await self._shown(candidate, found),
            same=same,
            stages=stages_shown(counts if openly else counts.of_shape()),
            text=_explained(search, same=same, fit=counts.fit if openly else None),
        )
        if openly:
            told.considered, told.conflicts = search.considered, search.conflicts
            told.rejected = [names.get(p) or p for p in search.rejected]
        return told

    async def _made(self, claim: claims.Claim) -> ClaimMade:
        """Return how the claim was made, waiting for the read model if it was just now."""
        database, stream = self._rt.parts.database, stream_id("claim", claim.id)
        rows = await audit.stream_events(database, stream, limit=1)
        if not rows:
            await wait_until(database, ("audit", "providers"), self._commands.position().seq)
            rows = await audit.stream_events(database, stream, limit=1)
        made = _codec.event(rows[0].record)
        assert isinstance(made, ClaimMade)
        return made


def _searched_from(made: ClaimMade, search: Search) -> datetime:
    """Return the start that was searched for: for a claim from now on, the time of the search."""
    assert search.request is not None
    span = search.request.span
    if span.duration is None and span.start is None and search.now is not None:
        return search.now
    return made.start


def _same(candidate: Candidate, made: ClaimMade) -> bool:
    def what(allocations: Iterable[Any]) -> list[tuple[str, str, list[tuple[str, int]]]]:
        return sorted((a.group, a.provider, sorted(a.amounts.items())) for a in allocations)

    return what(candidate.allocations) == what(made.allocations)


def _explained(search: Search, *, same: bool, fit: int | None) -> str:
    """Say how it was found; with ``fit``, how many others could do and how many were lost."""
    order = {
        "random": f"in an order drawn from seed {search.seed}",
        "pack": "the fullest first",
        "spread": "the emptiest first",
    }[search.policy]
    text = f"tried {order}"
    if fit is not None:
        text = f"{fit} providers could do for the first group; {text}"
    if search.conflicts and fit is not None:
        text += f"; {search.conflicts} that were found had been taken by others meanwhile"
    if not same:
        return f"{text}; the same search proposes something else now: this should not be"
    return f"{text}; the same search proposes the same again"
