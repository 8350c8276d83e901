"""What else befalls machines in a random history: upkeep, sights, profiles, user data, brakes."""

from datetime import timedelta
from typing import TYPE_CHECKING

from mulligan.events import machine as ev
from mulligan.handlers import (
    actions,
    brake,
    deployment,
    image,
    observations,
    operations,
    profile,
    reports,
    upkeep,
    userdata,
)
from mulligan.handlers.decision import Command
from mulligan.handlers.machine import Machine
from mulligan.model import (
    AccountId,
    CommitId,
    CredentialId,
    ImageId,
    MachineId,
    ProjectId,
    ProviderId,
    StreamId,
    UserDataId,
)

if TYPE_CHECKING:
    from tests.projections.histories import World

ANN = AccountId("ann")


class MachineSteps:
    """Steps on the ``machines`` of a world, which may become more meanwhile."""

    def __init__(
        self,
        world: "World",
        machines: list[MachineId],
        projects: list[ProjectId],
        credential: CredentialId,
        rack: ProviderId,
    ) -> None:
        self.world, self.rng = world, world.rng
        self.machines, self.projects = machines, projects
        self.credential, self.rack = credential, rack
        self.user_data: list[UserDataId] = []
        self.phones = self._image("phones", "phone-home")
        self.wiper = self._image("wiper", "power-on")

    def _image(self, name: str, ready_when: str) -> ImageId:
        key = ImageId(self.world.id())
        command = image.CreateImage(
            image=key, name=name, url=f"file:{name}.iso", sha256="1" * 64, ready_when=ready_when
        )
        self.world.do(command)
        return key

    def facts(self, machine: MachineId) -> ev.Facts:
        """What an inspection finds: sometimes more memory, a card or a port than before."""
        rng = self.rng
        disks = (ev.Disk(id="1", bytes=10**12, media="SSD", serial=f"D{machine[:8]}"),)
        card = ev.Accelerator(id="GPU.1", kind="GPU", vendor="NVIDIA", model='say "H"')
        port = ev.Nic(id="NIC.1", mac="02:00:00:00:00:01", speed_mbps=rng.choice((10_000, 25_000)))
        return ev.Facts(
            manufacturer=rng.choice(("Acme", "Other")),
            cpu_cores=8,
            memory_bytes=rng.choice((2**30, 2**31)),
            serial=f"S-{int(machine[:4], 16) % 40}",
            disks=disks,
            accelerators=(card,) if rng.random() < 0.5 else (),
            nics=(port,),
        )

    def wishes(self, machine: MachineId, operation: CommitId) -> list[Command]:
        """What may be asked of a machine beside the plainest."""
        rng = self.rng
        return [
            operations.AdoptMachine(
                machine=machine, operation=operation, project=rng.choice(self.projects), account=ANN
            ),
            operations.ManageMachine(machine=machine),
            deployment.RescueMachine(machine=machine, image=self.phones, operation=operation),
            deployment.RestoreMachine(machine=machine, operation=operation),
            upkeep.RetireMachine(machine=machine, reason="old"),
            upkeep.ReinstateMachine(machine=machine),
        ]

    def given(self, project: ProjectId) -> UserDataId:
        """User data of the project, or none."""
        states = self.world.states
        own = [
            d
            for d in self.user_data
            if states[StreamId(f"userdata/{d}")].project == project
            and not states[StreamId(f"userdata/{d}")].deleted
        ]
        return self.rng.choice([*own, UserDataId("")])

    def _cordoned(self, machine: MachineId) -> bool:
        state: Machine = self.world.states[StreamId(f"machine/{machine}")]
        return state.cordon is not None and not state.deleted

    def mind(self) -> None:
        """Change one axis of a machine."""
        if not self.machines:
            return
        world, rng = self.world, self.rng
        machine = rng.choice([*filter(self._cordoned, self.machines)] or self.machines)
        until = world.now + timedelta(minutes=5)
        state: Machine = world.states[StreamId(f"machine/{machine}")]
        bmc = ev.Bmc(address=f"https://c{world.id()}", credential=self.credential)
        wishes: tuple[Command, ...] = (
            upkeep.CordonMachine(machine=machine, by=ANN, reason='a "fan"'),
            upkeep.CordonMachine(
                machine=machine, by=ANN, reason="fans", until=until, maintenance=True
            ),
            upkeep.UncordonMachine(machine=machine, by=ANN),
            upkeep.UncordonMachine(machine=machine, by=ANN),
            upkeep.UncordonMachine(machine=machine),
            upkeep.KeepPower(machine=machine, power=rng.choice(("on", "off", ""))),
            upkeep.EnforcePower(machine=machine, operation=CommitId(world.id())),
            upkeep.AllowLogins(machine=machine),
            upkeep.AssignProfile(machine=machine, profile=rng.choice(("", "acme"))),
            upkeep.SetBmc(machine=machine, bmc=bmc if rng.random() < 0.5 else state.bmc),
        )
        world.attempt(rng.choice(wishes))

    def see(self) -> None:
        """Have a BMC tell of its machine."""
        if not self.machines:
            return
        rng, machine = self.rng, self.rng.choice(self.machines)
        fault = ev.Condition(component="PSU 1", severity="warning", message='no "input"')
        conditions = rng.choice(((), (fault,)))
        powers: tuple[ev.Power, ...] = ("on", "off", "unknown")
        wishes: tuple[Command, ...] = (
            observations.ObservePower(machine=machine, power=rng.choice(powers)),
            observations.ObserveHealth(
                machine=machine, health="warning" if conditions else "ok", conditions=conditions
            ),
            observations.SeeHardwareEvent(machine=machine, kind="power-supply", condition=fault),
        )
        self.world.attempt(rng.choice(wishes))

    def rule(self) -> None:
        """Change profiles, brakes or user data."""
        world, rng = self.world, self.rng
        key = UserDataId(world.id())
        wishes: tuple[Command, ...] = (
            profile.SetProfile(
                name="acme",
                manufacturer="Acme",
                clean=("wipe",),
                wipe_image=self.wiper,
                deadlines={"deploy": rng.choice((600, 7200))},
            ),
            profile.DeleteProfile(name="acme"),
            brake.ApplyBrake(domain=self.rack, failed=3, total=9, window=600),
            brake.ReleaseBrake(domain=self.rack, by=ANN, reason="seen to"),
            brake.ReleaseBrake(domain=self.rack, by=ANN, reason="seen to"),
            userdata.CreateUserData(
                user_data=key, name=f"d-{key[:8]}", project=rng.choice(self.projects),
                version="v1", sha256="2" * 64, size=9,
            ),
            *(userdata.DeleteUserData(user_data=d) for d in self.user_data[:1]),
        )  # fmt: skip
        wish = rng.choice(wishes)
        if world.attempt(wish) and isinstance(wish, userdata.CreateUserData):
            self.user_data.append(key)

    def report(self, machine: MachineId, state: Machine) -> None:
        """Have a machine report what its operation waits for."""
        operation = state.operation
        assert operation is not None
        if operation.step == "phone_home":
            command: Command = reports.PhoneHome(
                machine=machine, operation=operation.id, host_keys={"ssh-ed25519": "SHA256:x"}
            )
        else:
            disks = state.facts.disks if state.facts is not None else ()
            proofs = tuple(
                ev.DiskProof(serial=d.serial, method="overwrite", verified=self.rng.random() < 0.8)
                for d in disks
            )
            command = reports.ReportWipe(machine=machine, operation=operation.id, proofs=proofs)
        self.world.do(command, correlation=operation.id)

    def task(self, machine: MachineId, state: Machine) -> None:
        """Have a BMC make a task of the action in hand, now and then."""
        operation = state.operation
        if operation is not None and operation.action is not None and self.rng.random() < 0.2:
            command = actions.StartTask(
                machine=machine,
                operation=operation.id,
                action=operation.action.id,
                monitor="/redfish/v1/TaskService/Tasks/1",
            )
            self.world.do(command)
