"""What the parts of mulligan-control share: how its objects are found and answered."""

from mulligan.commands.runner import Commands
from mulligan.errors import FailedPrecondition, NotFound
from mulligan.handlers.claim import Claim
from mulligan.handlers.machine import Machine
from mulligan.model import MachineId, ProjectId, is_uuid
from mulligan.proto import v1
from mulligan.queries.freshness import wait_until
from mulligan.queries.holdings import open_claims
from mulligan.services import render
from mulligan.services.gate import visibility
from mulligan.services.gate.caller import caller
from mulligan.services.objects import fetch, identify
from mulligan.services.runtime import Runtime


class MachineObjects:
    """Finds machines, images and claims by name or UUID, as far as the caller may see them."""

    _rt: Runtime

    @property
    def _commands(self) -> Commands:
        return self._rt.parts.commands

    def _position(self) -> v1.Position:
        return render.position(self._commands.position())

    async def _image(self, text: str) -> str:
        return await identify(self._commands, "image", text, "image")

    async def _claim(self, text: str) -> str:
        if is_uuid(text) or not text:
            return await identify(self._commands, "claim", text, "claim")
        return await identify(self._commands, "claim", text, "claim", caller().require_project())

    async def _machine(self, text: str) -> str:
        return await identify(self._commands, "machine", text, "machine")

    async def _visible(self, uuid: str, called: str) -> render.Versioned:
        """Return a machine that the caller may see; raise NotFound naming what they ``called``."""
        known = await fetch(self._commands, "machine", uuid)
        state: Machine = known.state
        caller().require_own("machine", called, state.project or ProjectId("-"))
        return known

    async def _require_deployed(self, uuid: str, called: str) -> None:
        """Raise NotFound for a machine that the caller may not see, or that nothing runs on yet.

        To a tenant who only holds the latter by a claim it is FailedPrecondition.
        """
        try:
            await self._visible(uuid, called)
        except NotFound:
            state: Machine = (await self._seen(uuid, called)).state
            claim: Claim = (await fetch(self._commands, "claim", state.claim)).state
            raise FailedPrecondition(
                f"nothing of your project runs on machine {state.name} yet: deploy claim"
                f" {claim.name or claim.id} to it, or release that claim"
            ) from None

    async def _seen(self, uuid: str, called: str) -> render.Versioned:
        """Return a machine that the caller may look at, as far as they know of it.

        A tenant looks at those, too, that a claim of its project holds while the window is open and
        that nothing runs on yet: they are shown as the project's, by that claim. Others' are looked
        for as long as those that are not there: the time tells nothing.
        """
        try:
            return await self._visible(uuid, called)
        except NotFound:
            claim = await self._awaiting(uuid)
            if claim is None:
                raise
        known = await fetch(self._commands, "machine", uuid)
        if known.state.project:  # somebody has it deployed, or gives it back late
            raise NotFound("machine", called)
        return visibility.held_by(known, claim.id, claim.project)

    async def _awaiting(self, uuid: str) -> Claim | None:
        """Return the open claim by which the caller's project holds a machine."""
        project = visibility.holder()
        if not project:
            return None
        database = self._rt.parts.database
        await wait_until(database, ("claims",), self._commands.position().seq)
        claim = (await open_claims(database, project, [uuid])).get(MachineId(uuid))
        if claim is None:
            return None
        state: Claim = (await fetch(self._commands, "claim", claim)).state
        held = {hold.provider for hold in state.held}
        return state if state.usable(self._commands.now()) and uuid in held else None
