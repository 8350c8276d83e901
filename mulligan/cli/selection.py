"""Which machines a verb is for: those named, or those that a selection finds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mulligan.cli.grammar import none_of
from mulligan.cli.machine_view import state_shown
from mulligan.cli.many import names_of
from mulligan.cli.verbs import Bundle, Session, YesOption
from mulligan.errors import InvalidArgument
from mulligan.wording import natural, word

if TYPE_CHECKING:
    from mulligan.proto.v1 import ListMachinesRequest, Machine, MachineState

HEALTHS = ("ok", "warning", "critical", "unknown")

MachinesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="MACHINE", help="Names or UUIDs; - reads them.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Every machine.")]
StateOption = Annotated[
    list[str] | None, typer.Option("--state", help="Those in these states. Repeatable.")
]
UnderOption = Annotated[
    str, typer.Option("--under", help="Those under this provider, at any depth.")
]
NameLikeOption = Annotated[
    str, typer.Option("--name-like", help="Those whose name fits a pattern, as 'rack7-*'.")
]
ManufacturerOption = Annotated[
    str, typer.Option("--manufacturer", help="Those of this make; a pattern with *.")
]
ModelOption = Annotated[str, typer.Option("--model", help="Those of this model; with *.")]
HealthOption = Annotated[
    str, typer.Option("--health", help="Those that are ok, warning, critical or unknown.")
]
ClaimOption = Annotated[str, typer.Option("--claim", help="Those of this claim.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done to which machine.")
]


@dataclass(frozen=True, kw_only=True)
class Filters(Bundle):
    """What narrows a list of machines, in the service."""

    state: StateOption = None
    claim: ClaimOption = ""
    under: UnderOption = ""
    name_like: NameLikeOption = ""
    manufacturer: ManufacturerOption = ""
    model: ModelOption = ""
    health: HealthOption = ""

    def request(self) -> "ListMachinesRequest":
        """Return them as a request; raise InvalidArgument for a state or health that is none."""
        from mulligan.proto.v1 import ListMachinesRequest

        if self.health and self.health not in HEALTHS:
            raise InvalidArgument("--health", none_of(self.health, HEALTHS))
        return ListMachinesRequest(
            states=states_of(self.state or [], "--state"),
            claim=self.claim,
            under=self.under,
            name=self.name_like,
            manufacturer=self.manufacturer,
            model=self.model,
            health=self.health,
        )

    @property
    def given(self) -> bool:
        """Tell whether there is any."""
        return any(getattr(self, part.name) for part in fields(Filters))


@dataclass(frozen=True, kw_only=True)
class Named(Bundle):
    """Machines by name."""

    machines: MachinesArgument = None


@dataclass(frozen=True, kw_only=True)
class Selection(Filters, Named):
    """Machines by name, or by what they are like; ``yes`` and ``dry_run`` are for what follows."""

    all: AllOption = False
    dry_run: DryRunOption = False
    yes: YesOption = False

    @property
    def by_listing(self) -> bool:
        """Tell whether machines are selected rather than named."""
        return self.all or self.given


class Target(NamedTuple):
    """A machine to do something with: what it is called, what is sent, and how it was listed."""

    called: str
    ref: str
    machine: "Machine | None" = None


async def targets_of(session: Session, selection: Selection) -> list[Target]:
    """Return the machines meant; raise InvalidArgument for neither names nor a selection, or both.

    Machines that are selected are called by name and asked by UUID: a name can be another's by
    then.
    """
    given = selection.machines or []
    if given and selection.by_listing:
        raise InvalidArgument("MACHINE", "name machines, or select them; not both")
    if not given and not selection.by_listing:
        raise InvalidArgument(
            "MACHINE", "name machines, or select them with --state, --under, --name-like or --all"
        )
    if given:
        return [Target(name, name) for name in names_of(given)]
    if selection.all and selection.given:
        raise InvalidArgument("--all", "is every machine; leave it out to select fewer")
    found = await listed(session, selection.request())
    return [Target(one.name or one.uuid, one.uuid, one) for one in found]


async def listed(
    session: Session, request: "ListMachinesRequest", limit: int = 0
) -> "list[Machine]":
    """Return all machines that a request lists, by name, or the first ``limit`` as they come."""
    from mulligan.client.paging import every

    control = session.client.control
    pages = every(control.list_machines, request, lambda page: page.machines, limit=limit)
    machines = [machine async for machine in pages]
    return machines if limit else sorted(machines, key=lambda one: natural(one.name))


def counted(targets: Sequence[Target]) -> str:
    """Return how many there are, and in which states: ``12 machines (8 enrolled, 4 active)``."""
    states: dict[str, int] = {}
    for target in targets:
        if target.machine is not None:
            shown = state_shown(target.machine)
            states[shown] = states.get(shown, 0) + 1
    several = f"{len(targets)} machine{'' if len(targets) == 1 else 's'}"
    parts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"{several} ({parts})" if parts else several


def states_of(given: Sequence[str], field: str) -> "list[MachineState]":
    """Return the states of that name; raise InvalidArgument for a name that is none."""
    from mulligan.proto.v1 import MachineState

    known = {word(one): one for one in MachineState if int(one)}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidArgument(field, none_of(unknown[0], list(known)))
    return [known[name] for name in given]
