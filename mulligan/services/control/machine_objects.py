"""What the parts of mulligan-control share: how its objects are found and answered."""

from mulligan.commands.runner import Commands
from mulligan.handlers.machine import Machine
from mulligan.model import ProjectId, is_uuid
from mulligan.proto import v1
from mulligan.services import render
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
