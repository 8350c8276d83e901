"""mulligan-control: machines, and the commands that move them.

Logins of BMCs are in ``credentials``, what machines boot in ``imaging``, what guards them in
``guarding``, what one can learn of them in ``machine_records``.
"""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from mulligan.commands.runner import Request
from mulligan.errors import InvalidArgument, NotFound
from mulligan.handlers import deployment, enrolment, operations, upkeep
from mulligan.handlers.claim import Claim
from mulligan.handlers.decision import Command
from mulligan.handlers.plans import PowerTarget
from mulligan.model import (
    ClaimId,
    ImageId,
    MachineId,
    ProjectId,
    ProviderId,
    UserDataId,
    stream_id,
)
from mulligan.proto import v1
from mulligan.services import parse, render
from mulligan.services.control import render_machine
from mulligan.services.control.credentials import Credentials
from mulligan.services.control.guarding import Guarding
from mulligan.services.control.imaging import Imaging
from mulligan.services.control.machine_records import MachineRecords
from mulligan.services.dry_runs import DryRuns
from mulligan.services.gate.caller import Mutation, caller, request_of
from mulligan.services.objects import fetch, identify
from mulligan.services.runtime import Runtime

POWER: dict[v1.PowerTarget, PowerTarget] = {
    v1.PowerTarget.ON: "on",
    v1.PowerTarget.OFF: "off",
    v1.PowerTarget.SHUTDOWN: "shutdown",
    v1.PowerTarget.RESTART: "restart",
    v1.PowerTarget.CYCLE: "cycle",
    v1.PowerTarget.NMI: "nmi",
}

Make = Callable[[MachineId, Request], Command]


class Control(DryRuns, Credentials, Imaging, Guarding, MachineRecords, v1.ControlBase):
    """``mulligan.v1.Control``."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    async def enroll_machine(self, message: v1.EnrollMachineRequest) -> v1.MachineResponse:
        """Take a machine into the inventory."""
        request = request_of(message)
        if message.bmc is None:
            raise InvalidArgument("bmc", "give the address and credential of its BMC")
        credential = await self._credential(message.bmc)
        parent = ""
        if message.parent:
            parent = await identify(self._commands, "provider", message.parent, "parent")
        command = enrolment.EnrolMachine(
            machine=MachineId(request.id),
            name=message.name,
            bmc=parse.bmc(message.bmc, credential),
            parent=ProviderId(parent),
            profile=message.profile,
        )
        await self._commands.execute(command, request)
        return await self._machine_response(request.id)

    async def _credential(self, bmc: v1.Bmc) -> str:
        return await identify(self._commands, "credential", bmc.credential, "bmc.credential")

    async def update_machine(self, message: v1.UpdateMachineRequest) -> v1.MachineResponse:
        """Reach a machine's BMC in another way, or give it a hardware profile."""
        request = request_of(message)
        uuid = MachineId(await self._machine(message.machine))
        given = [message.bmc, message.profile]
        if sum(one is not None for one in given) != 1:
            raise InvalidArgument("bmc", "give either bmc or profile, one at a time")
        command: Command
        if message.bmc is not None:
            bmc = parse.bmc(message.bmc, await self._credential(message.bmc))
            command = upkeep.SetBmc(machine=uuid, bmc=bmc)
        else:
            command = upkeep.AssignProfile(machine=uuid, profile=message.profile or "")
        versions = {stream_id("machine", uuid): parse.version(message.etag)}
        await self._commands.execute(command, request, versions=versions)
        return await self._machine_response(uuid)

    async def inspect_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        """Check credentials and read the hardware."""
        return await self._operate(
            message, lambda m, r: operations.InspectMachine(machine=m, operation=r.id)
        )

    async def adopt_machine(self, message: v1.AdoptMachineRequest) -> v1.MachineResponse:
        """Take over a machine that runs already, for a project."""
        project = ProjectId(await identify(self._commands, "project", message.project, "project"))
        account = caller().account
        return await self._operate(
            message,
            lambda m, r: operations.AdoptMachine(
                machine=m, operation=r.id, project=project, account=account
            ),
        )

    async def provide_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        """Clean a machine and offer it to claims."""
        return await self._operate(
            message, lambda m, r: operations.ProvideMachine(machine=m, operation=r.id)
        )

    async def manage_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        """Take a machine back from the pool."""
        return await self._operate(message, lambda m, r: operations.ManageMachine(machine=m))

    async def release_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        """Give a machine and its share of the claim back."""
        project = caller().visible_project
        return await self._operate(
            message,
            lambda m, r: deployment.ReleaseMachine(machine=m, project=project),
            released=True,
        )

    async def rescue_machine(self, message: v1.RescueMachineRequest) -> v1.MachineResponse:
        """Boot a rescue image beside what was deployed."""
        project = caller().visible_project
        image = ImageId(await self._image(message.image))
        user_data = ""
        if message.user_data:
            held = await self._visible(await self._machine(message.machine), message.machine)
            user_data = await self._user_data(message.user_data, held.state.project)
        return await self._operate(
            message,
            lambda m, r: deployment.RescueMachine(
                machine=m,
                image=image,
                operation=r.id,
                project=project,
                user_data=UserDataId(user_data),
            ),
        )

    async def restore_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        """Return from a rescue to what was deployed."""
        project = caller().visible_project
        return await self._operate(
            message,
            lambda m, r: deployment.RestoreMachine(machine=m, operation=r.id, project=project),
        )

    async def abort_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        """Stop the running operation."""
        who = caller().account
        return await self._operate(
            message, lambda m, r: operations.AbortMachine(machine=m, by=f"account {who}")
        )

    async def retry_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        """Run a failed operation again."""
        return await self._operate(
            message, lambda m, r: operations.RetryMachine(machine=m, operation=r.id)
        )

    async def power_machine(self, message: v1.PowerMachineRequest) -> v1.MachineResponse:
        """Switch a machine on or off, restart it, or interrupt its system."""
        target = POWER.get(v1.PowerTarget(message.target))
        if target is None:
            raise InvalidArgument("target", "say on, off, shutdown, restart, cycle or nmi")
        project = caller().visible_project
        return await self._operate(
            message,
            lambda m, r: operations.PowerMachine(
                machine=m, target=target, operation=r.id, project=project
            ),
        )

    async def keep_power(self, message: v1.KeepPowerRequest) -> v1.MachineResponse:
        """Have a machine kept on or off while it rests, or no longer."""
        known: Mapping[str, Literal["on", "off", ""]] = {"on": "on", "off": "off", "": ""}
        power = known.get(message.power)
        if power is None:
            raise InvalidArgument("power", "say on, off, or nothing to leave it as it is")
        return await self._operate(message, lambda m, r: upkeep.KeepPower(machine=m, power=power))

    async def cordon_machine(self, message: v1.CordonMachineRequest) -> v1.MachineResponse:
        """Keep new claims away from a machine; in maintenance, also everything else."""
        who = caller().account
        return await self._operate(
            message,
            lambda m, r: upkeep.CordonMachine(
                machine=m,
                by=who,
                reason=message.reason,
                until=message.until,
                maintenance=message.maintenance,
            ),
        )

    async def uncordon_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        """Lift a machine's cordon and end its maintenance."""
        who = caller().account
        return await self._operate(message, lambda m, r: upkeep.UncordonMachine(machine=m, by=who))

    async def retire_machine(self, message: v1.RetireMachineRequest) -> v1.MachineResponse:
        """Take a machine out of service."""
        return await self._operate(
            message, lambda m, r: upkeep.RetireMachine(machine=m, reason=message.reason)
        )

    async def reinstate_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        """Bring a retired machine back."""
        return await self._operate(message, lambda m, r: upkeep.ReinstateMachine(machine=m))

    async def allow_logins(self, message: v1.MachineRequest) -> v1.MachineResponse:
        """Let executors log in to the BMC again."""
        return await self._operate(message, lambda m, r: upkeep.AllowLogins(machine=m))

    async def _operate(
        self, message: "_OnMachine", make: Make, *, released: bool = False
    ) -> v1.MachineResponse:
        request = request_of(message)
        uuid = await self._machine(message.machine)
        await self._require_deployed(uuid, message.machine)
        await self._commands.execute(make(MachineId(uuid), request), request)
        return await self._machine_response(uuid, released=released)

    async def deploy_machine(self, message: v1.DeployMachineRequest) -> v1.MachineResponse:
        """Boot an image on a claimed machine."""
        request = request_of(message)
        claim = await self._claim(message.claim)
        machine = None
        if message.machine:
            machine = MachineId(
                await identify(self._commands, "machine", message.machine, "machine")
            )
        image = await self._image(message.image)
        user_data = ""
        if message.user_data:
            held = await fetch(self._commands, "claim", claim)
            caller().require_own("claim", message.claim, held.state.project)
            user_data = await self._user_data(message.user_data, held.state.project)
        command = deployment.DeployMachine(
            claim=ClaimId(claim),
            image=ImageId(image),
            operation=request.id,
            machine=machine,
            project=caller().visible_project,
            user_data=UserDataId(user_data),
            hostname=message.hostname,
        )
        try:
            outcome = await self._commands.execute(command, request)
        except NotFound as error:
            if error.kind != "machine":
                raise
            raise NotFound("machine", message.machine) from error
        if machine is None and outcome.commit is not None:
            machine = MachineId(outcome.commit.events[0].stream.partition("/")[2])
        if machine is None:
            state: Claim = (await fetch(self._commands, "claim", claim)).state
            machine = MachineId(state.allocations[0].provider)
        return await self._machine_response(machine)

    async def delete_machine(self, message: v1.DeleteMachineRequest) -> v1.PositionResponse:
        """Forget a machine."""
        request = request_of(message)
        uuid = await self._machine(message.machine)
        command = enrolment.DeleteMachine(
            machine=MachineId(uuid), force=message.force, reason=message.reason
        )
        outcome = await self._commands.execute(command, request)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def control_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return self._rt.settings.configure(message)

    async def _machine_response(self, uuid: str, *, released: bool = False) -> v1.MachineResponse:
        """Show the machine; to the tenant who just released it for the last time."""
        known: render.Versioned = await fetch(self._commands, "machine", uuid)
        if not released:
            known = await self._visible(uuid, uuid)
        machine = render_machine.machine(known, self._rt.region, operator=caller().is_system)
        return v1.MachineResponse(machine=machine, position=self._position())


class _OnMachine(Mutation, Protocol):
    """A request message about one machine."""

    machine: str
