"""The log as a tenant may read it: what happened to what is its own, whoever did it.

Of every commit remain the events that concern one project: of its claims, user data, attribute
definitions, names and quota, what its claims took of providers, and what was begun on its machines.
A commit of which nothing remains is not there. What an event tells of others is left out of it.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from mulligan.commands.states import Known
from mulligan.errors import Corrupt
from mulligan.events import claim as claims
from mulligan.events import machine as machines
from mulligan.events import provider as providers
from mulligan.events.codec import Codec, UnreadableEvent
from mulligan.events.envelope import Actor, Commit, EventRecord
from mulligan.handlers.names import REGION_SCOPE
from mulligan.model import ProjectId, StreamId, stream_id, stream_key, stream_kind
from mulligan.services.gate.visibility import OPERATOR

REMEMBERED = 10_000
"""So many streams a reader remembers the project of beyond those it just read of."""

_OWNED = frozenset({"claim", "userdata", "metadef"})
_TAKEN = frozenset({providers.CapacityTaken.TYPE, providers.CapacityFreed.TYPE})
_BEGUN = frozenset({machines.OperationStarted.TYPE, machines.ClaimDetached.TYPE})
_OF_OTHERS = ("rejected", "conflicts", "considered")

Data = dict[str, Any]
_codec = Codec()


class ExactStates(Protocol):
    """Whoever knows the states of objects."""

    async def states(self, streams: list[StreamId]) -> Mapping[StreamId, Known]:
        """Return several, all at one position."""


class ProjectLog:
    """Reads commits for one project; reuse it for what follows in the same stream."""

    def __init__(self, commands: ExactStates, project: ProjectId) -> None:
        self._commands = commands
        self._project = project
        self._owners: OrderedDict[StreamId, str] = OrderedDict()

    async def learn(self, commits: Iterable[Commit]) -> None:
        """Find out whose the objects are that commits speak of, before they are ``seen``."""
        while len(self._owners) > REMEMBERED:
            self._owners.popitem(last=False)
        wanted: dict[StreamId, None] = {}
        for commit in commits:
            for event in commit.events:
                if event.type == claims.ClaimMade.TYPE:
                    self._remember(event.stream, _data(event)["project"])
                elif stream_kind(event.stream) in _OWNED or (
                    event.type in _BEGUN and commit.actor.project == self._project
                ):
                    wanted[event.stream] = None
        unknown = [stream for stream in wanted if stream not in self._owners]
        for stream, known in (await self._commands.states(unknown)).items():
            self._remember(stream, getattr(known.state, "project", ""))

    async def own(self, streams: Iterable[StreamId]) -> frozenset[StreamId]:
        """Return which of the streams are of objects that the project owns, or holds now."""
        wanted = {one for one in streams if stream_kind(one) in {*_OWNED, "machine"}}
        known = await self._commands.states(list(wanted))
        return frozenset(
            one
            for one, found in known.items()
            if self._project and getattr(found.state, "project", "") == self._project
        )

    def _remember(self, stream: StreamId, project: str) -> None:
        self._owners[stream] = project
        self._owners.move_to_end(stream)

    def _owns(self, stream: StreamId) -> bool:
        return bool(self._project) and self._owners.get(stream) == self._project

    def seen(self, commit: Commit) -> Commit | None:
        """Return a commit with what concerns the project, None if nothing does."""
        own = bool(self._project) and commit.actor.project == self._project
        events = tuple(self._event(e, own=own) for e in commit.events if self._sees(e, commit))
        if not events:
            return None
        if own:
            return replace(commit, events=events)
        account = commit.actor.account
        actor = Actor(account=account if account.startswith("service:") else OPERATOR)
        return replace(commit, actor=actor, events=events, traceparent="")

    def _sees(self, event: EventRecord, commit: Commit) -> bool:
        kind = stream_kind(event.stream)
        if kind in _OWNED:
            return self._owns(event.stream)
        if kind == "name":
            scope = stream_key(event.stream).split("/")[1]
            return scope == self._project and scope != REGION_SCOPE
        if kind == "quota":
            return bool(self._project) and stream_key(event.stream) == self._project
        if event.type in _TAKEN or event.type in _BEGUN:
            return self._concerns(event, _data(event), commit)
        return False

    def _concerns(self, event: EventRecord, data: Mapping[str, Any], commit: Commit) -> bool:
        """Whether it is for a claim of the project, or for a machine that it still holds."""
        if data.get("project"):
            return bool(data["project"] == self._project)
        if data.get("claim"):
            claim = stream_id("claim", data["claim"])
            return self._owns(claim) and any(e.stream == claim for e in commit.events)
        return commit.actor.project == self._project and self._owns(event.stream)

    def _event(self, event: EventRecord, *, own: bool) -> EventRecord:
        """Leave out what an event tells of others."""
        if event.type == claims.ClaimMade.TYPE:
            data = _data(event)
            search = data.get("search") or {}
            data["search"] = {k: v for k, v in search.items() if k not in _OF_OTHERS} or None
            return _with(event, data)
        if event.type == claims.ClaimStranded.TYPE:
            data = _data(event)
            return _with(event, {**data, "reason": data["reason"].partition(": ")[0]})
        if event.type == claims.ClaimMoved.TYPE and not own:
            return _with(event, {**_data(event), "reason": ""})
        return event


def _newest(event: EventRecord) -> EventRecord:
    """Bring an event up to date: who may see it is told by fields of its newest form."""
    try:
        return _codec.newest(event)
    except UnreadableEvent as error:
        raise Corrupt(str(error)) from error


def _data(event: EventRecord) -> Data:
    return msgspec.json.decode(_newest(event).data, type=Data)


def _with(event: EventRecord, data: Data) -> EventRecord:
    return replace(_newest(event), data=msgspec.Raw(msgspec.json.encode(data)))
