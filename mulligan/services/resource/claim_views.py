"""What every method on claims needs: find one, see that it is the caller's, answer with it."""

from collections.abc import Iterable

from mulligan.commands.runner import Commands
from mulligan.errors import InvalidArgument
from mulligan.handlers.claim import Claim
from mulligan.handlers.provider import Provider
from mulligan.model import is_uuid, stream_id
from mulligan.proto import v1
from mulligan.services import render
from mulligan.services.gate import visibility
from mulligan.services.gate.caller import caller
from mulligan.services.objects import fetch, identify
from mulligan.services.runtime import Runtime


class ClaimViews:
    """Claims by name or UUID, as messages."""

    _rt: Runtime

    @property
    def _commands(self) -> Commands:
        return self._rt.parts.commands

    async def _claim(self, text: str, field: str = "claim") -> str:
        who = caller()
        if is_uuid(text) or not text:
            return await identify(self._commands, "claim", text, field)
        return await identify(self._commands, "claim", text, field, who.require_project())

    async def _visible(self, uuid: str) -> Claim:
        state: Claim = (await fetch(self._commands, "claim", uuid)).state
        caller().require_own("claim", uuid, state.project)
        return state

    async def _claim_response(self, uuid: str) -> v1.ClaimResponse:
        known = await fetch(self._commands, "claim", uuid)
        state: Claim = known.state
        caller().require_own("claim", uuid, state.project)
        seen = visibility.claim_seen(known)
        claim = render.claim(seen, self._rt.region, await self._names_of([state]))
        return v1.ClaimResponse(claim=claim, position=render.position(self._commands.position()))

    async def _names_of(self, found: Iterable[Claim]) -> dict[str, str]:
        return await self._provider_names(a.provider for c in found for a in c.allocations)

    async def _provider_names(self, providers: Iterable[str]) -> dict[str, str]:
        uuids = list(dict.fromkeys(providers))
        names: dict[str, str] = {}
        for start in range(0, len(uuids), _AT_ONCE):
            some = uuids[start : start + _AT_ONCE]
            known = await self._commands.states([stream_id("provider", p) for p in some])
            for uuid in some:
                state: Provider | None = known[stream_id("provider", uuid)].state
                names[uuid] = state.name if state is not None else ""
        return names


_AT_ONCE = 2000


def require_consumer(text: str) -> None:
    """Raise InvalidArgument for a consumer that is no UUID; none at all is fine."""
    if text and not is_uuid(text):
        raise InvalidArgument("consumer", f"{text!r} is not a UUID in lower case")
