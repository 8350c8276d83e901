"""mulligan-control: machines, images, BMC credentials, and the commands that move machines."""

from collections.abc import Callable

from mulligan.commands.runner import Commands, Request
from mulligan.errors import InvalidArgument, NotFound
from mulligan.handlers import deployment, enrolment, operations
from mulligan.handlers import image as images
from mulligan.handlers.claim import Claim
from mulligan.handlers.decision import Command
from mulligan.handlers.machine import Machine
from mulligan.model import (
    ClaimId,
    CredentialId,
    ImageId,
    MachineId,
    ProjectId,
    ProviderId,
    is_uuid,
)
from mulligan.proto import v1
from mulligan.queries import images as image_queries
from mulligan.queries import machines as queries
from mulligan.services import explain, parse, render
from mulligan.services.caller import caller, request_of
from mulligan.services.configure import configure
from mulligan.services.objects import fetch, identify
from mulligan.services.reading import page_of, wait_for
from mulligan.services.runtime import Runtime
from mulligan.services.sealing import sealed

SECRET_KIND = "bmc"
POWER: dict[v1.PowerTarget, operations.PowerTarget] = {
    v1.PowerTarget.ON: "on",
    v1.PowerTarget.OFF: "off",
    v1.PowerTarget.SHUTDOWN: "shutdown",
    v1.PowerTarget.RESTART: "restart",
}

Make = Callable[[MachineId, Request], Command]


class Control(v1.ControlBase):
    """``mulligan.v1.Control``."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    @property
    def _commands(self) -> Commands:
        return self._rt.parts.commands

    async def create_credential(self, message: v1.CreateCredentialRequest) -> v1.CredentialResponse:
        """Seal a BMC login and announce it."""
        request = request_of(message)
        for field, value in (("username", message.username), ("password", message.password)):
            if not 0 < len(value) <= 256 or "\0" in value:
                raise InvalidArgument(field, "give 1 to 256 characters")
        secrets = self._rt.parts.secrets
        login = f"{message.username}\0{message.password}".encode()
        version = await secrets.put(SECRET_KIND, request.id, login)
        command = images.CreateCredential(
            credential=CredentialId(request.id), name=message.name, version=version
        )
        async with sealed(secrets, SECRET_KIND, request.id, version) as kept:
            kept.landed = not (await self._commands.execute(command, request)).repeat
        known = await fetch(self._commands, "credential", request.id)
        return v1.CredentialResponse(
            credential=render.credential(known, self._rt.region), position=self._position()
        )

    async def list_credentials(
        self, message: v1.ListCredentialsRequest
    ) -> v1.ListCredentialsResponse:
        """List BMC logins, without what is in them."""
        position = await wait_for(self._rt, message.freshness, "images")
        page = await image_queries.list_credentials(
            self._rt.parts.database, page_of(self._rt, message.page)
        )
        return v1.ListCredentialsResponse(
            credentials=[render.credential(row, self._rt.region) for row in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def delete_credential(self, message: v1.DeleteCredentialRequest) -> v1.PositionResponse:
        """Forget a BMC login and destroy its secret."""
        request = request_of(message)
        uuid = await identify(self._commands, "credential", message.credential, "credential")
        command = images.DeleteCredential(credential=CredentialId(uuid))
        outcome = await self._commands.execute(command, request)
        await self._rt.parts.secrets.delete(SECRET_KIND, uuid)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def create_image(self, message: v1.CreateImageRequest) -> v1.ImageResponse:
        """Register an image."""
        request = request_of(message)
        command = images.CreateImage(
            image=ImageId(request.id),
            name=message.name,
            url=message.url,
            sha256=message.sha256.lower(),
            kind=message.kind or "iso",
            firmware=message.firmware or "uefi",
            ready_when=message.ready_when or "power-on",
        )
        await self._commands.execute(command, request)
        return await self._image_response(request.id)

    async def get_image(self, message: v1.GetImageRequest) -> v1.ImageResponse:
        """Return one image."""
        return await self._image_response(await self._image(message.image))

    async def list_images(self, message: v1.ListImagesRequest) -> v1.ListImagesResponse:
        """List images by age."""
        position = await wait_for(self._rt, message.freshness, "images")
        page = await image_queries.list_images(
            self._rt.parts.database, page_of(self._rt, message.page)
        )
        return v1.ListImagesResponse(
            images=[render.image(row, self._rt.region) for row in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def delete_image(self, message: v1.DeleteImageRequest) -> v1.PositionResponse:
        """Keep an image from being deployed again."""
        request = request_of(message)
        uuid = await self._image(message.image)
        outcome = await self._commands.execute(images.DeleteImage(image=ImageId(uuid)), request)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def enroll_machine(self, message: v1.EnrollMachineRequest) -> v1.MachineResponse:
        """Take a machine into the inventory."""
        request = request_of(message)
        if message.bmc is None:
            raise InvalidArgument("bmc", "give the address and credential of its BMC")
        credential = await identify(
            self._commands, "credential", message.bmc.credential, "bmc.credential"
        )
        parent = ""
        if message.parent:
            parent = await identify(self._commands, "provider", message.parent, "parent")
        command = enrolment.EnrolMachine(
            machine=MachineId(request.id),
            name=message.name,
            bmc=parse.bmc(message.bmc, credential),
            parent=ProviderId(parent),
        )
        await self._commands.execute(command, request)
        return await self._machine_response(request.id)

    async def get_machine(self, message: v1.GetMachineRequest) -> v1.MachineResponse:
        """Return one machine."""
        uuid = await self._machine(message.machine)
        await self._visible(uuid, message.machine)
        return await self._machine_response(uuid)

    async def list_machines(self, message: v1.ListMachinesRequest) -> v1.ListMachinesResponse:
        """List the machines the caller may see."""
        who = caller()
        position = await wait_for(self._rt, message.freshness, "machines")
        claim = None
        if message.claim:
            claim = await self._claim(message.claim)
        page = await queries.list_machines(
            self._rt.parts.database,
            page_of(self._rt, message.page),
            states=[_state_name(s) for s in message.states] or None,
            claim=claim,
            project=None if who.is_system else who.project,
        )
        return v1.ListMachinesResponse(
            machines=[
                render.machine(row, self._rt.region, operator=who.is_system) for row in page.items
            ],
            next_page_token=page.next_token,
            position=position,
        )

    async def inspect_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        """Check credentials and read the hardware."""
        return await self._operate(
            message, lambda m, r: operations.InspectMachine(machine=m, operation=r.id)
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
        """Switch a machine on or off, or restart it."""
        target = POWER.get(v1.PowerTarget(message.target))
        if target is None:
            raise InvalidArgument("target", "say on, off, shutdown or restart")
        project = caller().visible_project
        return await self._operate(
            message,
            lambda m, r: operations.PowerMachine(
                machine=m, target=target, operation=r.id, project=project
            ),
        )

    async def _operate(
        self,
        message: v1.MachineRequest | v1.PowerMachineRequest,
        make: Make,
        *,
        released: bool = False,
    ) -> v1.MachineResponse:
        request = request_of(message)
        uuid = await self._machine(message.machine)
        await self._visible(uuid, message.machine)
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
        command = deployment.DeployMachine(
            claim=ClaimId(claim),
            image=ImageId(image),
            operation=request.id,
            machine=machine,
            project=caller().visible_project,
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

    async def why_machine(self, message: v1.WhyMachineRequest) -> v1.WhyMachineResponse:
        """Explain the machine's state from its events."""
        uuid = await self._machine(message.machine)
        known = await self._visible(uuid, message.machine)
        await wait_for(self._rt, message.freshness, "audit", "actions")
        return await explain.why(self._rt, known, operator=caller().is_system)

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

    async def control_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return configure(message)

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

    async def _image_response(self, uuid: str) -> v1.ImageResponse:
        known = await fetch(self._commands, "image", uuid)
        return v1.ImageResponse(
            image=render.image(known, self._rt.region), position=self._position()
        )

    async def _machine_response(self, uuid: str, *, released: bool = False) -> v1.MachineResponse:
        """Show the machine; to the tenant who just released it for the last time."""
        known: render.Versioned = await fetch(self._commands, "machine", uuid)
        if not released:
            known = await self._visible(uuid, uuid)
        machine = render.machine(known, self._rt.region, operator=caller().is_system)
        return v1.MachineResponse(machine=machine, position=self._position())


def _state_name(state: v1.MachineState) -> str:
    name = v1.MachineState(state).name
    if not name or name == "UNSPECIFIED":
        raise InvalidArgument("states", "name a state")
    return name.lower()
