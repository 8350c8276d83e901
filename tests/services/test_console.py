"""The console on a real region: what is shown is what the services say."""

from mulligan.console.app import ConsoleApp
from mulligan.console.fleet.map import FleetMap
from mulligan.console.fleet.panel import MachinePanel
from mulligan.console.source import Source
from mulligan.proto import v1
from tests.console.test_fleet import settled
from tests.services.yard import Yard


async def test_the_fleet_is_followed_opened_and_seen_as_it_was(yard: Yard) -> None:
    (name,) = await yard.enrolled(1, "console-rack")
    found = await yard.admin.control.get_machine(v1.GetMachineRequest(machine=name))
    assert found.machine is not None and found.position is not None
    uuid, enrolled_at = found.machine.uuid, found.position.seq
    app = ConsoleApp(Source(yard.admin.at("")))
    async with app.run_test(size=(140, 40)) as pilot:
        fleet = app.query_one(FleetMap)
        await settled(pilot, lambda: fleet.rack_of(uuid) == "console-rack")
        await settled(pilot, lambda: app.pulse.head >= enrolled_at)
        cordon = v1.CordonMachineRequest(machine=name, reason="seen from the console")
        await yard.admin.control.cordon_machine(cordon)
        await settled(pilot, lambda: fleet.machines[uuid].cordon == "cordoned")
        fleet.select(uuid)
        await pilot.press("enter")
        panel = app.query_one(MachinePanel)
        await settled(pilot, lambda: panel.machine is not None)
        await pilot.press("t", "g", *str(enrolled_at), "enter")
        await settled(pilot, lambda: app.moment is not None and app.moment.seq == enrolled_at)
        await settled(pilot, lambda: fleet.machines[uuid].cordon == "")
        await pilot.press("l")
        await settled(pilot, lambda: fleet.machines[uuid].cordon == "cordoned")
    assert app.failure is None
    await yard.admin.control.uncordon_machine(v1.MachineRequest(machine=name))
