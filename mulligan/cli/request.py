"""The request of a claim, as a YAML file, turned into messages.

Every complaint names the file, the line and the key.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from mulligan.cli.span import When, make_search, make_span, parse_span_or_none
from mulligan.cli.yamlfile import Document, Path, read_documents
from mulligan.errors import InvalidArgument
from mulligan.quantities import parse_amount

if TYPE_CHECKING:
    from mulligan.proto.v1 import (
        CapabilityFilter,
        DistanceRule,
        GroupFilter,
        MakeClaimRequest,
        RequestGroup,
        ResourceRequest,
        Span,
        StringList,
    )


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping that refuses keys it does not know."""


class Terms(Strict, frozen=True):
    """Tags or groups: all of ``require``, none of ``forbid``, one of each list of ``any_of``."""

    require: list[str] = []
    forbid: list[str] = []
    any_of: list[list[str]] = []


class Part(Strict, frozen=True):
    """``count`` instances of ``resources``, all or nothing."""

    name: str = ""
    count: int = 1
    resources: dict[str, int | str] = {}
    capabilities: Terms = Terms()
    groups: Terms = Terms()
    in_tree: str = ""
    single_provider: bool | None = None


class Place(Strict, frozen=True):
    """What a distance leads to, when it is no request group."""

    provider: str = ""
    group: str = ""


class Distance(Strict, frozen=True):
    """How far the instances of a request group are from something."""

    source: str = msgspec.field(name="from")
    to: str | Place
    type: str
    min: str = ""
    max: str = ""


class Time(Strict, frozen=True):
    """A start (default: now) with an end or a duration; or the earliest duration that fits."""

    start: str = ""
    end: str = ""
    duration: str = ""
    not_before: str = ""
    not_after: str = ""


class Request(Strict, frozen=True):
    """One document of a request file."""

    groups: list[Part]
    isolate: list[list[str]] = []
    same_subtree: list[list[str]] = []
    distances: list[Distance] = []
    window: Time = Time()
    policy: str = ""
    same_tree: bool = False
    root_capabilities: Terms = Terms()
    name: str = ""
    consumer: str = ""
    on_end: Literal["", "release", "keep_power_off"] = ""
    ending_notice: int | str = ""


def read_request(source: str, now: datetime) -> "MakeClaimRequest":
    """Read a file of one request; raise InvalidArgument naming the place of what is wrong."""
    requests = read_requests(source, now)
    if len(requests) != 1:
        raise InvalidArgument(source, f"holds {len(requests)} documents; a request is one")
    return requests[0]


def read_requests(source: str, now: datetime) -> "list[MakeClaimRequest]":
    """Read a file of requests, a document each; raise InvalidArgument as ``read_request`` does."""
    return [_claim(document, now) for document in read_documents(source, Request)]


def _claim(document: Document[Request], now: datetime) -> "MakeClaimRequest":
    from mulligan.proto.v1 import MakeClaimRequest

    value = document.value
    notice = str(value.ending_notice)
    return MakeClaimRequest(
        name=value.name,
        consumer=value.consumer,
        request=_request(document, now),
        on_end=value.on_end,
        ending_notice=parse_span_or_none(notice, document.where("ending_notice"))
        if notice
        else None,
    )


def _request(document: Document[Request], now: datetime) -> "ResourceRequest":
    from mulligan.proto.v1 import ResourceRequest

    value = document.value
    names = _names(document)
    return ResourceRequest(
        groups=[_group(document, number) for number in range(len(value.groups))],
        isolate=_sets(document, "isolate", value.isolate, names),
        same_subtree=_sets(document, "same_subtree", value.same_subtree, names),
        distances=[_distance(document, number, names) for number in range(len(value.distances))],
        window=_span(document, now),
        policy=value.policy,
        same_tree=value.same_tree,
        root_capabilities=_capabilities(document, ("root_capabilities",), value.root_capabilities),
    )


def _names(document: Document[Request]) -> list[str]:
    """Return the request groups' names; raise InvalidArgument when two could be meant by one."""
    parts = document.value.groups
    if not parts:
        raise InvalidArgument(document.where("groups"), "is empty; a claim takes something")
    names: list[str] = []
    for number, part in enumerate(parts):
        if not part.name and len(parts) > 1:
            raise InvalidArgument(
                document.where("groups", number), "has no name; with several groups each has one"
            )
        if part.name in names:
            raise InvalidArgument(
                document.where("groups", number, "name"), f"{part.name!r} is another group's too"
            )
        names.append(part.name)
    return names


def _group(document: Document[Request], number: int) -> "RequestGroup":
    from mulligan.proto.v1 import RequestGroup

    part = document.value.groups[number]
    at: Path = ("groups", number)
    if part.count < 1:
        raise InvalidArgument(document.where(*at, "count"), "must be at least 1")
    return RequestGroup(
        name=part.name,
        count=part.count,
        resources={
            name: parse_amount(amount, document.where(*at, "resources", name))
            for name, amount in part.resources.items()
        },
        capabilities=_capabilities(document, (*at, "capabilities"), part.capabilities),
        groups=_groups(document, (*at, "groups"), part.groups),
        in_tree=part.in_tree,
        single_provider=part.single_provider,
    )


def _capabilities(document: Document[Request], at: Path, terms: Terms) -> "CapabilityFilter":
    from mulligan.proto.v1 import CapabilityFilter

    _refuse_contradiction(document, at, terms)
    return CapabilityFilter(
        require=terms.require, forbid=terms.forbid, any_of=string_lists(terms.any_of)
    )


def _groups(document: Document[Request], at: Path, terms: Terms) -> "GroupFilter":
    from mulligan.proto.v1 import GroupFilter

    _refuse_contradiction(document, at, terms)
    return GroupFilter(
        require=terms.require, forbid=terms.forbid, any_of=string_lists(terms.any_of)
    )


def _refuse_contradiction(document: Document[Request], at: Path, terms: Terms) -> None:
    for number, name in enumerate(terms.forbid):
        if name in terms.require:
            where = document.where(*at, "forbid", number)
            raise InvalidArgument(where, f"{name} is required as well; nothing can be both")


def _sets(
    document: Document[Request], key: str, sets: Sequence[Sequence[str]], names: Sequence[str]
) -> "list[StringList]":
    """Return sets of request groups; raise InvalidArgument for a name that is none of them."""
    for number, members in enumerate(sets):
        for place, name in enumerate(members):
            _refuse_stranger(name, names, document.where(key, number, place))
    return string_lists(sets)


def _distance(document: Document[Request], number: int, names: Sequence[str]) -> "DistanceRule":
    from mulligan.proto.v1 import DistanceRule

    distance = document.value.distances[number]
    at = ("distances", number)
    _refuse_stranger(distance.source, names, document.where(*at, "from"))
    rule = DistanceRule(
        from_=distance.source, type=distance.type, min=distance.min, max=distance.max
    )
    to = distance.to
    if isinstance(to, str):
        _refuse_stranger(to, names, document.where(*at, "to"))
        rule.to = to
    elif bool(to.provider) == bool(to.group):
        raise InvalidArgument(document.where(*at, "to"), "give either a provider or a group")
    else:
        rule.provider, rule.group = to.provider, to.group
    return rule


def _refuse_stranger(name: str, names: Sequence[str], where: str) -> None:
    if not name or name not in names:
        known = ", ".join(one for one in names if one) or "none has a name"
        raise InvalidArgument(where, f"{name!r} is no group of this request ({known})")


def _span(document: Document[Request], now: datetime) -> "Span":
    time = document.value.window
    when = When(time.start, time.end, time.duration, time.not_before, time.not_after)
    names = When(*(document.where("window", key) for key in When._fields))
    if time.duration and not time.start and not time.end:
        return make_search(when, now, names)
    return make_span(when, now, names)


def string_lists(lists: "Iterable[Sequence[str]]") -> "list[StringList]":
    """Return lists of names as messages."""
    from mulligan.proto.v1 import StringList

    return [StringList(values=list(values)) for values in lists]
