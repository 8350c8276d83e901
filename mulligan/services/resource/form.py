"""A request for resources as it came over the wire, checked and with its names resolved; and back.

What contradicts itself is refused with the field named: it could never be met.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from mulligan.commands.runner import Commands
from mulligan.errors import InvalidArgument
from mulligan.events.request import (
    CapabilityDemand,
    ClaimRequest,
    DistanceRule,
    GroupDemand,
    RequestGroup,
    Span,
)
from mulligan.handlers.claim import SKEW
from mulligan.handlers.distance import check_word
from mulligan.model import GroupId, ProviderId, ResourceClass, StreamId, stream_id
from mulligan.proto import v1
from mulligan.services import parse
from mulligan.services.objects import identify, identify_all

POLICIES = ("random", "pack", "spread")
MAX_ALLOCATIONS = 1000
MAX_GROUPS = 64
MAX_DURATION = timedelta(days=36_500)

T = TypeVar("T", bound=str)


async def read_request(
    commands: Commands, message: v1.ResourceRequest | None, prefix: str = "request"
) -> ClaimRequest:
    """Return the request; raise InvalidArgument naming the field, NotFound for unknown names."""
    if message is None or not message.groups:
        raise InvalidArgument(f"{prefix}.groups", "ask for at least one group of resources")
    if len(message.groups) > MAX_GROUPS:
        raise InvalidArgument(f"{prefix}.groups", f"at most {MAX_GROUPS}")
    groups = [
        await _group(commands, group, f"{prefix}.groups[{n}]")
        for n, group in enumerate(message.groups)
    ]
    names = _distinct(groups, prefix)
    if not any(group.resources for group in groups):
        raise InvalidArgument(
            f"{prefix}.groups[0].resources", "ask for at least one resource class in some group"
        )
    if sum(group.count * max(len(group.resources), 1) for group in groups) > MAX_ALLOCATIONS:
        raise InvalidArgument(
            f"{prefix}.groups", f"a claim holds at most {MAX_ALLOCATIONS} allocations"
        )
    policy = message.policy or "random"
    if policy not in POLICIES:
        raise InvalidArgument(f"{prefix}.policy", f"{policy!r} is not one of {', '.join(POLICIES)}")
    return ClaimRequest(
        groups=tuple(groups),
        isolate=_sets(message.isolate, names, f"{prefix}.isolate", 1),
        same_subtree=_sets(message.same_subtree, names, f"{prefix}.same_subtree", 1),
        distances=tuple(
            [
                await _distance(commands, rule, names, f"{prefix}.distances[{n}]")
                for n, rule in enumerate(message.distances)
            ]
        ),
        span=read_span(message.window, commands.now(), f"{prefix}.window"),
        policy=policy,
        same_tree=message.same_tree,
        root_capabilities=read_capabilities(
            message.root_capabilities, f"{prefix}.root_capabilities"
        ),
    )


def _distinct(groups: Sequence[RequestGroup], prefix: str) -> frozenset[str]:
    names: set[str] = set()
    for number, group in enumerate(groups):
        if group.name in names:
            raise InvalidArgument(
                f"{prefix}.groups[{number}].name", f"{group.name!r} is given twice"
            )
        names.add(group.name)
    return frozenset(names)


def _sets(
    messages: Iterable[v1.StringList], names: frozenset[str], field: str, least: int
) -> tuple[tuple[str, ...], ...]:
    found = []
    for number, message in enumerate(messages):
        if len(message.values) < least:
            raise InvalidArgument(f"{field}[{number}]", "name at least one request group")
        for value in message.values:
            _known(value, names, f"{field}[{number}]")
        found.append(tuple(dict.fromkeys(message.values)))
    return tuple(found)


def _known(name: str, names: frozenset[str], field: str) -> str:
    if name not in names:
        raise InvalidArgument(field, f"there is no request group named {name!r}")
    return name


async def _group(commands: Commands, message: v1.RequestGroup, field: str) -> RequestGroup:
    resources: dict[ResourceClass, int] = {}
    if message.resources:
        resources = parse.amounts(message.resources, f"{field}.resources")
    single = message.single_provider is not False
    if not single and not resources:
        raise InvalidArgument(
            f"{field}.single_provider", "a group without resources has nothing to split"
        )
    in_tree = ""
    if message.in_tree:
        in_tree = await identify(commands, "provider", message.in_tree, f"{field}.in_tree")
    return RequestGroup(
        name=parse.group_name(message.name, f"{field}.name"),
        count=parse.count(message.count, f"{field}.count"),
        resources=resources,
        capabilities=read_capabilities(message.capabilities, f"{field}.capabilities"),
        groups=await _group_demand(commands, message.groups, f"{field}.groups"),
        in_tree=ProviderId(in_tree),
        single_provider=single,
    )


def read_capabilities(message: v1.CapabilityFilter | None, field: str) -> CapabilityDemand:
    """Read what capabilities are asked for; what is required and forbidden is refused."""
    if message is None:
        return CapabilityDemand()
    require = parse.capabilities(message.require, f"{field}.require")
    forbid = parse.capabilities(message.forbid, f"{field}.forbid")
    any_of = tuple(
        _some(parse.capabilities(one.values, f"{field}.any_of[{n}]"), f"{field}.any_of[{n}]")
        for n, one in enumerate(message.any_of)
    )
    _refuse_contradictions([(c,) for c in require], forbid, f"{field}.require")
    _refuse_contradictions(any_of, forbid, f"{field}.any_of")
    return CapabilityDemand(require=require, forbid=forbid, any_of=any_of)


async def _group_demand(
    commands: Commands, message: v1.GroupFilter | None, field: str
) -> GroupDemand:
    if message is None:
        return GroupDemand()

    async def ids(names: list[str], where: str) -> tuple[GroupId, ...]:
        found = await identify_all(commands, "group", names, where)
        return tuple(GroupId(one) for one in dict.fromkeys(found))

    required = await ids(message.require, f"{field}.require")
    any_of = [
        _some(await ids(one.values, f"{field}.any_of[{n}]"), f"{field}.any_of[{n}]")
        for n, one in enumerate(message.any_of)
    ]
    forbid = await ids(message.forbid, f"{field}.forbid")
    _refuse_contradictions([(g,) for g in required], forbid, f"{field}.require")
    _refuse_contradictions(any_of, forbid, f"{field}.any_of")
    return GroupDemand(any_of=(*((g,) for g in required), *any_of), forbid=forbid)


def _some(values: tuple[T, ...], field: str) -> tuple[T, ...]:
    if not values:
        raise InvalidArgument(field, "an empty choice can never be met; leave it out")
    return values


def _refuse_contradictions(
    wanted: Iterable[tuple[str, ...]], forbid: Sequence[str], field: str
) -> None:
    for choice in wanted:
        if choice and set(choice) <= set(forbid):
            raise InvalidArgument(field, f"{choice[0]} is asked for and forbidden")


async def _distance(
    commands: Commands, message: v1.DistanceRule, names: frozenset[str], field: str
) -> DistanceRule:
    _known(message.from_, names, f"{field}.from")
    ends = [bool(message.to), bool(message.provider), bool(message.group)]
    if sum(ends) != 1:
        raise InvalidArgument(f"{field}.to", "give exactly one of to, provider and group")
    if message.to:
        _known(message.to, names, f"{field}.to")
    if not message.min and not message.max:
        raise InvalidArgument(f"{field}.min", "give min, max or both")
    type_ = (await commands.state(_distance_stream(message.type, f"{field}.type"))).state
    if type_ is None:
        raise InvalidArgument(f"{field}.type", f"there is no distance type {message.type!r}")
    for key, position in (("min", message.min), ("max", message.max)):
        if position and position not in type_.positions:
            raise InvalidArgument(
                f"{field}.{key}", f"{position!r} is not one of {', '.join(type_.positions)}"
            )
    if message.min and message.max:
        order = type_.positions.index
        if order(message.min) > order(message.max):
            raise InvalidArgument(f"{field}.min", "min is farther than max")
    provider = group = ""
    if message.provider:
        provider = await identify(commands, "provider", message.provider, f"{field}.provider")
    if message.group:
        group = await identify(commands, "group", message.group, f"{field}.group")
    return DistanceRule(
        source=message.from_,
        type=message.type,
        to=message.to,
        provider=ProviderId(provider),
        group=GroupId(group),
        least=message.min,
        most=message.max,
    )


def _distance_stream(name: str, field: str) -> StreamId:
    check_word(name, field)
    return stream_id("distance", name)


def read_span(message: v1.Span | None, now: datetime, field: str = "window") -> Span:
    """Read when; what lies in the past, or mixes both forms, is refused."""
    if message is None:
        return Span()
    if message.duration is None:
        for key in ("not_before", "not_after"):
            if getattr(message, key) is not None:
                raise InvalidArgument(f"{field}.{key}", "this goes with a duration only")
        return _fixed(message.start, message.end, now, field)
    for key in ("start", "end"):
        if getattr(message, key) is not None:
            raise InvalidArgument(
                f"{field}.{key}", "give a start and an end, or a duration with bounds; not both"
            )
    duration: timedelta = message.duration
    if not timedelta(0) < duration <= MAX_DURATION:
        raise InvalidArgument(f"{field}.duration", "give more than 0 s and at most 100 years")
    begin = max(message.not_before or now, now)
    if message.not_after is not None and message.not_after < begin + duration:
        problem = "so long a window does not fit before it"
        raise InvalidArgument(
            f"{field}.not_after", "lies in the past" if message.not_after <= now else problem
        )
    return Span(
        duration=duration.total_seconds(),
        not_before=message.not_before,
        not_after=message.not_after,
    )


def _fixed(start: datetime | None, end: datetime | None, now: datetime, field: str) -> Span:
    if start is not None and end is not None and end <= start:
        raise InvalidArgument(f"{field}.end", "the end is not after the start")
    if end is not None and end <= now:
        raise InvalidArgument(f"{field}.end", "the window lies in the past")
    if start is not None and start < now - SKEW:
        raise InvalidArgument(f"{field}.start", "lies in the past; leave it out to start now")
    return Span(start=start, end=end)


def request_shown(request: ClaimRequest) -> v1.ResourceRequest:
    """Render a request; names are UUIDs now."""
    return v1.ResourceRequest(
        groups=[_group_shown(group) for group in request.groups],
        isolate=[v1.StringList(values=list(names)) for names in request.isolate],
        same_subtree=[v1.StringList(values=list(names)) for names in request.same_subtree],
        distances=[
            v1.DistanceRule(
                from_=rule.source,
                to=rule.to,
                provider=rule.provider,
                group=rule.group,
                type=rule.type,
                min=rule.least,
                max=rule.most,
            )
            for rule in request.distances
        ],
        window=_span_shown(request.span),
        policy=request.policy,
        same_tree=request.same_tree,
        root_capabilities=_capabilities_shown(request.root_capabilities),
    )


def _group_shown(group: RequestGroup) -> v1.RequestGroup:
    return v1.RequestGroup(
        name=group.name,
        count=group.count,
        resources={str(c): n for c, n in group.resources.items()},
        capabilities=_capabilities_shown(group.capabilities),
        groups=v1.GroupFilter(
            any_of=[v1.StringList(values=[str(g) for g in one]) for one in group.groups.any_of],
            forbid=[str(g) for g in group.groups.forbid],
        ),
        in_tree=group.in_tree,
        single_provider=group.single_provider,
    )


def _capabilities_shown(demand: CapabilityDemand) -> v1.CapabilityFilter:
    return v1.CapabilityFilter(
        require=list(demand.require),
        forbid=list(demand.forbid),
        any_of=[v1.StringList(values=list(one)) for one in demand.any_of],
    )


def _span_shown(span: Span) -> v1.Span:
    return v1.Span(
        start=span.start,
        end=span.end,
        duration=None if span.duration is None else timedelta(seconds=span.duration),
        not_before=span.not_before,
        not_after=span.not_after,
    )
