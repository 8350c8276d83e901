"""The console's pages on a real region: log, history, why, claims, read models, an action."""

from collections.abc import Callable

from textual.pilot import Pilot

from mulligan.client import Client
from mulligan.console.actions.offered import actions_for
from mulligan.console.app import ConsoleApp
from mulligan.console.brief import machine_brief
from mulligan.console.history.page import HistoryView
from mulligan.console.links import Act, GoToHistory, GoToWhy
from mulligan.console.log.page import LogView
from mulligan.console.source import Source
from mulligan.proto import v1
from tests.console.feeds import screen_text, settled
from tests.services.yard import Yard


def told(pilot: Pilot[None], *parts: str) -> Callable[[], bool]:
    return lambda: all(part in screen_text(pilot) for part in parts)


async def power(client: Client, name: str) -> str:
    answer = await client.control.get_machine(v1.GetMachineRequest(machine=name))
    machine = answer.machine
    return machine.power.observed if machine is not None and machine.power is not None else ""


async def test_every_page_tells_of_the_region_and_an_action_is_carried_out(yard: Yard) -> None:
    (name,) = await yard.manageable(rack="rack-of-the-console")
    machine = await yard.machine(name)
    app = ConsoleApp(Source(yard.admin), page="log")
    async with app.run_test(size=(150, 40), notifications=True) as pilot:
        await settled(pilot, told(pilot, "following", f"machine/{name}"), "the log", 15)
        await yard.admin.control.cordon_machine(
            v1.CordonMachineRequest(machine=name, reason="for the console")
        )
        await settled(pilot, told(pilot, "machine.cordoned"), "the log is followed", 15)
        app.query_one(LogView).lines.focus()
        app.post_message(GoToHistory(f"machine/{name}"))
        await settled(pilot, told(pilot, "cordon.reason", "for the console"), "what changed", 40)
        assert app.query_one(HistoryView).lines.rows[0].event.type == "machine.enrolled"
        app.post_message(GoToWhy(f"machine/{machine.uuid}"))
        await settled(pilot, told(pilot, f"{name} is manageable"), "why", 15)
        await pilot.press("escape", "4")
        await settled(pilot, told(pilot, "rack-of-the-console", name), "claims", 15)
        await pilot.press("5")
        await settled(pilot, told(pilot, "machines", "live", "the archive"), "read models", 15)
        await pilot.press("6")
        await settled(
            pilot,
            lambda: "all is well" in screen_text(pilot) or "problem" in screen_text(pilot),
            "problems",
            15,
        )
        offered = {one.verb: one for one in actions_for(machine_brief(machine))}
        verb = "power-off" if machine.power and machine.power.observed == "on" else "power-on"
        app.post_message(Act(offered[verb]))
        await settled(pilot, told(pilot, f"machine {machine.uuid}"), "it is confirmed", 15)
        await pilot.press("y")
        wanted = verb.removeprefix("power-")
        await settled(pilot, told(pilot, f"{name} is manageable, power {wanted}"), "outcome", 30)
        assert await power(yard.admin, name) == wanted
        assert app.failure is None
