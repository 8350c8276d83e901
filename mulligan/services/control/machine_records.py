"""What one can learn of machines: lists, why they are as they are, and all that happened."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from mulligan.errors import InvalidArgument
from mulligan.events.machine import ClaimDetached
from mulligan.handlers.machine import Machine
from mulligan.model import stream_id
from mulligan.proto import v1
from mulligan.queries import audit
from mulligan.queries import machines as queries
from mulligan.queries.holdings import open_claims
from mulligan.services.control import explain, render_machine
from mulligan.services.control.machine_objects import MachineObjects
from mulligan.services.gate import visibility
from mulligan.services.gate.caller import caller
from mulligan.services.objects import fetch, identify
from mulligan.services.reading import page_of, wait_for
from mulligan.services.render import Versioned

R = TypeVar("R", bound=Versioned)

HEALTHS = ("ok", "warning", "critical", "unknown")
_MOMENT = timedelta(microseconds=1)


class MachineRecords(MachineObjects):
    """Machines and their past, as far as the caller may see them."""

    async def get_machine(self, message: v1.GetMachineRequest) -> v1.MachineResponse:
        """Return one machine."""
        uuid = await self._machine(message.machine)
        known = await self._seen(uuid, message.machine)
        machine = render_machine.machine(known, self._rt.region, operator=caller().is_system)
        return v1.MachineResponse(machine=machine, position=self._position())

    async def list_machines(self, message: v1.ListMachinesRequest) -> v1.ListMachinesResponse:
        """List the machines the caller may see."""
        who = caller()
        position = await wait_for(self._rt, message.freshness, "machines", "providers", "claims")
        wanted = queries.MachineFilter(
            states=tuple(_state_name(s) for s in message.states),
            claim=await self._claim(message.claim) if message.claim else None,
            project=None if who.is_system else who.project,
            under=await self._under(message.under),
            name=message.name or None,
            manufacturer=message.manufacturer or None,
            model=message.model or None,
            health=_health(message.health),
        )
        brief = message.view == v1.MachineView.BASIC
        machines, token = await self._page_of_machines(message.page, wanted, brief=brief)
        return v1.ListMachinesResponse(machines=machines, next_page_token=token, position=position)

    async def _page_of_machines(
        self, page: v1.Page | None, wanted: queries.MachineFilter, *, brief: bool
    ) -> tuple[list[v1.Machine], str]:
        """Return a page as the caller may see it, and the token of the next."""
        database, asked = self._rt.parts.database, page_of(self._rt, page)
        operator = caller().is_system
        if brief:
            briefs = await queries.list_briefs(database, asked, wanted)
            shown = [
                render_machine.brief(row, operator=operator)
                for row in await self._claimed(briefs.items)
            ]
            return shown, briefs.next_token
        rows = await queries.list_machines(database, asked, wanted)
        region = self._rt.region
        shown = [
            render_machine.machine(row, region, operator=operator)
            for row in await self._claimed(rows.items)
        ]
        return shown, rows.next_token

    async def _claimed(self, rows: Sequence[R]) -> Sequence[R]:
        """Return machines as the caller knows them: to a tenant, with the claims they wait for."""
        project = visibility.holder()
        if project is None:
            return rows
        waiting = [row.state.id for row in rows if not row.state.project]
        claims = await open_claims(self._rt.parts.database, project, waiting)
        found = []
        for row in rows:
            if row.state.project:
                found.append(row)
            elif row.state.id in claims:  # what lost its claim since it was listed is left out
                found.append(visibility.held_by(row, claims[row.state.id], project))
        return found

    async def _under(self, text: str) -> str | None:
        return await identify(self._commands, "provider", text, "under") if text else None

    async def why_machine(self, message: v1.WhyMachineRequest) -> v1.WhyMachineResponse:
        """Explain the machine's state from its events."""
        uuid = await self._machine(message.machine)
        known = await self._seen(uuid, message.machine)
        await wait_for(self._rt, message.freshness, "audit", "actions")
        own = (await fetch(self._commands, "machine", uuid)).state.project
        since = None if own else await self._held_since(known.state)
        return await explain.why(self._rt, known, operator=caller().is_system, since=since)

    async def list_machine_history(
        self, message: v1.ListMachineHistoryRequest
    ) -> v1.ListMachineHistoryResponse:
        """List all that happened to a machine; to a tenant, since it holds it."""
        uuid = await self._machine(message.machine)
        known = await self._seen(uuid, message.machine)
        position = await wait_for(self._rt, message.freshness, "audit")
        asked = page_of(self._rt, message.page)
        rows = await audit.latest_events(
            self._rt.parts.database,
            stream_id("machine", uuid),
            asked.size + 1,
            before=_version(asked.token),
            since=await self._held_since(known.state),
        )
        shown, more = rows[: asked.size], len(rows) > asked.size
        operator = caller().is_system
        return v1.ListMachineHistoryResponse(
            causes=[explain.cause(self._rt, row, known.state, operator=operator) for row in shown],
            next_page_token=str(shown[-1].version) if more else "",
            position=position,
        )

    async def _held_since(self, machine: Machine) -> datetime | None:
        """Return from when on the caller may know what happened to a machine; None: ever.

        A reservation is made while others hold the machine, and they may give it back late.
        """
        if caller().is_system:
            return None
        claim = await fetch(self._commands, "claim", machine.claim)
        begun: datetime = max(claim.created_at, claim.state.start)
        stream = stream_id("machine", machine.id)
        given_back = await audit.latest_time(self._rt.parts.database, stream, ClaimDetached.TYPE)
        return begun if given_back is None else max(begun, given_back + _MOMENT)

    async def list_actions(self, message: v1.ListActionsRequest) -> v1.ListActionsResponse:
        """List what was tried on a machine's BMC, newest first; to a tenant, since it holds it."""
        uuid = await self._machine(message.machine)
        known = await self._seen(uuid, message.machine)
        position = await wait_for(self._rt, message.freshness, "actions", "audit")
        page = await queries.list_actions(
            self._rt.parts.database,
            uuid,
            page_of(self._rt, message.page),
            since=await self._held_since(known.state),
        )
        operator = caller().is_system
        return v1.ListActionsResponse(
            actions=[explain.action(row, known.state, operator=operator) for row in page.items],
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
    if not (token.isascii() and token.isdecimal() and len(token) < 10):
        raise InvalidArgument("page.token", "this is no page token; leave it empty")
    return int(token)
