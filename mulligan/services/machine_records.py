"""What one can learn of machines: lists, why they are as they are, and all that happened."""

import msgspec

from mulligan.errors import InvalidArgument
from mulligan.model import stream_id
from mulligan.proto import v1
from mulligan.queries import audit
from mulligan.queries import machines as queries
from mulligan.services import explain, render_machine
from mulligan.services.caller import caller
from mulligan.services.machine_objects import MachineObjects
from mulligan.services.objects import fetch, identify
from mulligan.services.reading import page_of, wait_for

HEALTHS = ("ok", "warning", "critical", "unknown")


class MachineRecords(MachineObjects):
    """Machines and their past, as far as the caller may see them."""

    async def get_machine(self, message: v1.GetMachineRequest) -> v1.MachineResponse:
        """Return one machine."""
        uuid = await self._machine(message.machine)
        known = await self._visible(uuid, message.machine)
        machine = render_machine.machine(known, self._rt.region, operator=caller().is_system)
        return v1.MachineResponse(machine=machine, position=self._position())

    async def list_machines(self, message: v1.ListMachinesRequest) -> v1.ListMachinesResponse:
        """List the machines the caller may see."""
        who = caller()
        position = await wait_for(self._rt, message.freshness, "machines", "providers")
        page = await queries.list_machines(
            self._rt.parts.database,
            page_of(self._rt, message.page),
            queries.MachineFilter(
                states=tuple(_state_name(s) for s in message.states),
                claim=await self._claim(message.claim) if message.claim else None,
                project=None if who.is_system else who.project,
                under=await self._under(message.under),
                name=message.name or None,
                manufacturer=message.manufacturer or None,
                model=message.model or None,
                health=_health(message.health),
            ),
        )
        return v1.ListMachinesResponse(
            machines=[
                render_machine.machine(row, self._rt.region, operator=who.is_system)
                for row in page.items
            ],
            next_page_token=page.next_token,
            position=position,
        )

    async def _under(self, text: str) -> str | None:
        return await identify(self._commands, "provider", text, "under") if text else None

    async def why_machine(self, message: v1.WhyMachineRequest) -> v1.WhyMachineResponse:
        """Explain the machine's state from its events."""
        uuid = await self._machine(message.machine)
        known = await self._visible(uuid, message.machine)
        await wait_for(self._rt, message.freshness, "audit", "actions")
        return await explain.why(self._rt, known, operator=caller().is_system)

    async def list_machine_history(
        self, message: v1.ListMachineHistoryRequest
    ) -> v1.ListMachineHistoryResponse:
        """List all that happened to a machine; to a tenant, since it holds it."""
        uuid = await self._machine(message.machine)
        known = await self._visible(uuid, message.machine)
        position = await wait_for(self._rt, message.freshness, "audit")
        asked = page_of(self._rt, message.page)
        operator = caller().is_system
        before = _version(asked.token)
        rows = await audit.latest_events(
            self._rt.parts.database, stream_id("machine", uuid), asked.size, before=before
        )
        whole = len(rows) < asked.size
        if not operator:
            since = (await fetch(self._commands, "claim", known.state.claim)).created_at
            kept = [row for row in rows if since is not None and row.at >= since]
            whole, rows = whole or len(kept) < len(rows), kept
        return v1.ListMachineHistoryResponse(
            causes=[explain.cause(self._rt, row, operator=operator) for row in rows],
            next_page_token="" if whole or not rows else str(rows[-1].version),
            position=position,
        )

    async def list_actions(self, message: v1.ListActionsRequest) -> v1.ListActionsResponse:
        """List what was tried on a machine's BMC, newest first."""
        uuid = await self._machine(message.machine)
        await self._visible(uuid, message.machine)
        position = await wait_for(self._rt, message.freshness, "actions")
        page = await queries.list_actions(
            self._rt.parts.database, uuid, page_of(self._rt, message.page)
        )
        return v1.ListActionsResponse(
            actions=[explain.action(row) for row in page.items],
            next_page_token=page.next_token,
            position=position,
        )


def _state_name(state: v1.MachineState) -> str:
    name = v1.MachineState(state).name
    if not name or name == "UNSPECIFIED":
        raise InvalidArgument("states", "name a state")
    return name.lower()


def _health(text: str) -> str | None:
    if text and text not in HEALTHS:
        raise InvalidArgument("health", f"{text!r} is not one of {', '.join(HEALTHS)}")
    return text or None


def _version(token: str) -> int | None:
    if not token:
        return None
    try:
        return msgspec.convert(token, int, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidArgument("page.token", "is none that this list gave") from error
