"""The call of mulligan-log that tells what differs between two moments, object by object."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from mulligan.errors import InvalidArgument
from mulligan.handlers.claim import Claim
from mulligan.log.moment import find_moment
from mulligan.model import ProjectId, stream_key, stream_kind
from mulligan.proto import v1
from mulligan.queries.differences import Difference, differences, field_changes
from mulligan.queries.freshness import wait_until
from mulligan.services.gate import visibility
from mulligan.services.runtime import Runtime

DEFAULT_LIMIT = 1000
MAX_LIMIT = 10_000
MAX_VALUE = 4096
"""Characters; what is longer is cut, with an ellipsis."""

_OWNED = frozenset({"claim", "userdata", "metadef"})
_BESIDE = ("name", "serial", "checkpoint", "denial")
"""Kinds that tell again what others tell, or nothing of objects: shown when they are asked for."""


class DiffCalls:
    """The part of ``mulligan.v1.Log`` that compares two moments."""

    _rt: Runtime

    async def diff_log(self, message: v1.DiffLogRequest) -> AsyncIterator[v1.ObjectChange]:
        """Send each object that differs; ``more`` is set in the last if the limit left some out.

        Those that have the same values at both moments, however often they changed, are left out.
        """
        parts = self._rt.parts
        after = await find_moment(parts.log, message.from_, "from")
        until = await find_moment(parts.log, message.to, "to") if message.to else parts.log.head.seq
        if after > until:
            raise InvalidArgument("from", f"{after} lies after {until}: give the earlier one first")
        if message.stream and "/" not in message.stream:
            raise InvalidArgument("stream", "write kind/key, such as machine/<uuid>")
        limit = message.limit or DEFAULT_LIMIT
        if limit > MAX_LIMIT:
            raise InvalidArgument("limit", f"is more than {MAX_LIMIT}")
        await wait_until(parts.database, ("audit",), until)
        found = differences(
            parts.database,
            after,
            until,
            kind=message.kind,
            stream=message.stream,
            without=() if message.kind or message.stream else _BESIDE,
        )
        held: v1.ObjectChange | None = None
        async with aclosing(found) as changes:
            async for one in changes:
                shown = self._shown(one, visibility.holder())
                if shown is None:
                    continue
                if held is not None:
                    limit -= 1
                    if not limit:
                        held.more = True
                        break
                    yield held
                held = shown
        if held is not None:
            yield held

    def _shown(self, one: Difference, project: ProjectId | None) -> v1.ObjectChange | None:
        """Render a difference as the caller may see it; None if it may not, or sees none."""
        before, after, account = one.before, one.after, one.account
        if project is not None:
            if not _owns(project, one):
                return None
            before, after = _told(before), _told(after)
            outside = one.project != project and not account.startswith("service:")
            account = visibility.OPERATOR if outside else account
        fields = field_changes(before, after)
        if not fields:
            return None
        region = self._rt.region
        return v1.ObjectChange(
            stream=one.stream,
            name=str(getattr(after, "name", "") or getattr(before, "name", "")),
            change=one.change,
            events=one.events,
            fields=[
                v1.FieldChange(path=f.path, before=_cut(f.before), after=_cut(f.after))
                for f in fields
            ],
            first=v1.Position(region=region, seq=one.first),
            last=v1.Position(region=region, seq=one.last),
            last_at=one.last_at,
            last_account=account,
        )


def _owns(project: ProjectId, one: Difference) -> bool:
    kind = stream_kind(one.stream)
    if kind == "quota":
        return bool(project) and stream_key(one.stream) == project
    owner = getattr(one.after, "project", "") or getattr(one.before, "project", "")
    return bool(project) and kind in _OWNED and owner == project


def _told(state: Any) -> Any:
    """Leave out what a claim's state tells of others."""
    if not isinstance(state, Claim):
        return state
    stranded = tuple(replace(s, reason=visibility.stranding_seen(s.reason)) for s in state.stranded)
    return replace(state, search=None, stranded=stranded)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"
