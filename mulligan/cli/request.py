"""The request of a claim, as options or as a YAML file, turned into messages."""

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from mulligan.cli.quantities import parse_amount, parse_span, parse_time
from mulligan.cli.yamlfile import Document, read_documents
from mulligan.errors import InvalidArgument

if TYPE_CHECKING:
    from mulligan.proto.v1 import MakeClaimRequest, RequestGroup, Window


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping that refuses keys it does not know."""


class Capabilities(Strict, frozen=True):
    """Tags that each provider must have, must not have, or must have one of."""

    require: list[str] = []
    forbid: list[str] = []
    any_of: list[list[str]] = []


class Groups(Strict, frozen=True):
    """Provider groups that each provider must, or must not, be in."""

    any_of: list[list[str]] = []
    forbid: list[str] = []


class Part(Strict, frozen=True):
    """``count`` providers, each of which gives all of ``resources``."""

    resources: dict[str, int | str]
    name: str = ""
    count: int = 1
    capabilities: Capabilities = Capabilities()
    groups: Groups = Groups()


class Span(Strict, frozen=True):
    """When: a start (default: now) and either an end or a duration; neither is for ever."""

    start: str = ""
    end: str = ""
    duration: str = ""


class Request(Strict, frozen=True):
    """What ``claim make -f`` reads."""

    groups: list[Part]
    window: Span = Span()
    policy: str = ""
    name: str = ""
    consumer: str = ""


def read_request(source: str, now: datetime) -> "MakeClaimRequest":
    """Read a request file; raise InvalidArgument naming the line and key of what is wrong."""
    from mulligan.proto.v1 import MakeClaimRequest

    documents = list(read_documents(source, Request))
    if len(documents) != 1:
        raise InvalidArgument(source, f"holds {len(documents)} documents; a request is one")
    (document,) = documents
    request = document.value
    if not request.groups:
        raise InvalidArgument(document.where("groups"), "is empty; a claim takes something")
    return MakeClaimRequest(
        name=request.name,
        consumer=request.consumer,
        policy=request.policy,
        groups=[_group(document, number) for number in range(len(request.groups))],
        window=make_window(
            request.window.start,
            request.window.end,
            request.window.duration,
            now,
            names=tuple(document.where("window", key) for key in ("start", "end", "duration")),
        ),
    )


def _group(document: Document[Request], number: int) -> "RequestGroup":
    from mulligan.proto.v1 import CapabilityFilter, GroupFilter, RequestGroup, StringList

    part = document.value.groups[number]
    if part.count < 1:
        raise InvalidArgument(document.where("groups", number, "count"), "must be at least 1")
    return RequestGroup(
        name=part.name,
        count=part.count,
        resources={
            name: parse_amount(amount, document.where("groups", number, "resources", name))
            for name, amount in part.resources.items()
        },
        capabilities=CapabilityFilter(
            require=part.capabilities.require,
            forbid=part.capabilities.forbid,
            any_of=[StringList(values=values) for values in part.capabilities.any_of],
        ),
        groups=GroupFilter(
            any_of=[StringList(values=values) for values in part.groups.any_of],
            forbid=part.groups.forbid,
        ),
    )


def make_window(
    start: str,
    end: str,
    duration: str,
    now: datetime,
    *,
    names: tuple[str, ...] = ("--start", "--end", "--for"),
) -> "Window":
    """Return the window of a claim; ``names`` are what its three parts are called in errors."""
    from mulligan.proto.v1 import Window

    if end and duration:
        raise InvalidArgument(names[2], "give an end or a duration, not both")
    begins = parse_time(start, now, names[0]) if start and start != "now" else None
    ends: datetime | None = None
    if end:
        ends = parse_time(end, now, names[1])
    elif duration:
        ends = (begins or now) + parse_span(duration, names[2])
    if ends is not None and ends <= (begins or now):
        raise InvalidArgument(names[1], "is not after the start")
    return Window(start=begins, end=ends)
