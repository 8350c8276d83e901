"""``mulligan apply``: make the inventory what a file says."""

import gc
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mulligan.cli.login import secret_in
from mulligan.cli.many import each
from mulligan.cli.output import Column, Output
from mulligan.cli.progress import Progress
from mulligan.cli.report import NotSent, Several
from mulligan.cli.verbs import Session, YesOption, verb
from mulligan.errors import InvalidArgument, MulliganError

if TYPE_CHECKING:
    from mulligan.cli.fleet import CredentialSpec, Wanted
    from mulligan.cli.fleet_step import Actual, Step, Waves
    from mulligan.client.client import Client
    from mulligan.proto.v1 import Quota

app = typer.Typer(rich_markup_mode=None)

AT_ONCE = 48
"""Requests under way: enough for the log to write them in batches."""
SHOWN = 200
"""Objects whose differences are shown before they are applied."""
TRIED = 1000
"""Changes that a dry run has decided, at most."""
SIGNS = {"create": "+", "change": "~"}


@dataclass(frozen=True)
class Result:
    """What became of one object, as it is printed."""

    result: str
    kind: str
    name: str


COLUMNS = (
    Column("RESULT", lambda one: one.result),
    Column("KIND", lambda one: one.kind),
    Column("NAME", lambda one: one.name),
)
PAST = {"create": "created", "change": "changed", "unchanged": "unchanged"}


@verb(app, "apply")
async def apply(
    session: Session,
    file: Annotated[str, typer.Option("--file", "-f", help="Fleet in YAML; - reads stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference only.")] = False,
    yes: YesOption = False,
) -> None:
    """Make the fleet and its rules what a YAML file says.

    The difference is shown first. Nothing is ever deleted; what the file leaves out stays. With
    --dry-run the services are asked whether they would accept the changes that come first.
    """
    from mulligan.cli.fleet import Fleet, merge
    from mulligan.cli.fleet_plan import plan
    from mulligan.cli.yamlfile import read_documents

    wanted = merge(list(read_documents(file, Fleet)))
    folder = Path() if file == "-" else Path(file).parent
    waves = plan(wanted, await look(session.client, wanted), lambda spec: password(spec, folder))
    steps = [step for wave in waves for step in wave]
    show_difference(session.out, steps, most=len(steps) if dry_run else SHOWN)
    changing = [step for step in steps if step.request is not None]
    if dry_run or not changing:
        if not session.out.for_people:
            session.out.rows([done(step, dry_run) for step in steps], COLUMNS)
        if changing:
            await try_first(session, waves, len(changing))
        return
    session.confirm(f"Apply these {len(changing)} changes?", yes)
    results = [done(step) for step in steps if step.request is None]
    results += await carry_out(session, waves)
    if not session.out.for_people:
        session.out.rows(results, COLUMNS)
    counts = {word: sum(one.result == word for one in results) for word in PAST.values()}
    session.out.note(", ".join(f"{count} {word}" for word, count in counts.items()))


def done(step: "Step", dry_run: bool = False) -> Result:
    """Return what became, or would become, of a step's object."""
    return Result(step.action if dry_run else PAST[step.action], step.kind, step.name)


def show_difference(out: Output, steps: "Iterable[Step]", most: int) -> None:
    """Tell what will be created and changed, of at most so many objects."""
    unchanged = shown = 0
    for step in steps:
        if step.request is None:
            unchanged += 1
            continue
        shown += 1
        if shown > most:
            continue
        out.tell(f"{SIGNS[step.action]} {step.kind} {step.name}")
        for detail in step.details:
            out.tell(f"    {detail}")
    if shown > most:
        out.tell(f"… and {shown - most} more; --dry-run shows them all")
    if unchanged:
        out.tell(f"  {unchanged} unchanged")


async def try_first(session: Session, waves: "Waves", total: int) -> None:
    """Have the services decide the changes that no other change comes before, and do none of them.

    Raise Several, with the file's lines, if they refuse some. Of more than TRIED the others, and
    what builds on what is not there yet, are left undecided.
    """
    todo = ([step for step in wave if step.request is not None] for wave in waves)
    first = next(filter(None, todo))[:TRIED]
    rpcs = rpcs_of(session.client)
    decided = 0

    async def ask(step: "Step") -> None:
        nonlocal decided
        try:
            await rpcs[type(step.request)](step.request)
        except NotSent as held:
            decided += held.trial is not None and held.trial.answer is not None
        except MulliganError as error:
            raise placed(error, f"{step.place.at()}: {step.kind} {step.name}") from error

    await each(first, ask, at_once=AT_ONCE)
    left = total - decided
    others = f" (the other {left} they decide when it is applied)" if left else ""
    session.out.note(
        f"dry run: the services would accept {decided} of {total} changes{others}; nothing was done"
    )


async def carry_out(session: Session, waves: "Waves") -> list[Result]:
    """Do the steps, a wave after another; raise Several, with the file's lines, if some fail."""
    gc.freeze()  # the plan of a large fleet stays to the end: the collector need not walk it
    rpcs = rpcs_of(session.client)
    total = sum(step.request is not None for wave in waves for step in wave)
    results: list[Result] = []
    with Progress(quiet=not session.out.err.isatty()) as progress:

        async def send(step: "Step") -> None:
            try:
                await rpcs[type(step.request)](step.request)
            except MulliganError as error:
                raise placed(error, f"{step.place.at()}: {step.kind} {step.name}") from error
            results.append(done(step))
            progress.show("apply", f"{len(results)}/{total}", len(results), total)

        for wave in waves:
            todo = [step for step in wave if step.request is not None]
            if not todo:
                continue
            try:
                await each(todo, send, at_once=AT_ONCE)
            except Several as error:
                raise Several(error.first, total - len(results), total) from error
    return results


def placed(error: MulliganError, place: str) -> MulliganError:
    """Return the error with the place in the file before its message."""
    if isinstance(error, InvalidArgument):
        first, *more = error.violations
        field = f"{place}: {first.field}"
        return InvalidArgument(field, first.description, *more)
    error.message = f"{place}: {error.message}"
    return error


def password(spec: "CredentialSpec", folder: Path) -> str:
    """Return a credential's password from where the file says; paths are relative to the file."""
    if spec.password_file:
        return secret_in(str(folder / Path(spec.password_file).expanduser()))
    found = os.environ.get(spec.password_env, "")
    if not found:
        raise InvalidArgument("password_env", f"the variable {spec.password_env} is not set")
    return found


def rpcs_of(client: "Client") -> dict[type[Any], Callable[[Any], Awaitable[Any]]]:
    """Return which RPC takes which request."""
    from mulligan.proto import v1

    return {
        v1.CreateCredentialRequest: client.control.create_credential,
        v1.CreateImageRequest: client.control.create_image,
        v1.SetProfileRequest: client.control.set_profile,
        v1.EnrollMachineRequest: client.control.enroll_machine,
        v1.UpdateMachineRequest: client.control.update_machine,
        v1.CreateGroupRequest: client.resource.create_group,
        v1.UpdateGroupMembersRequest: client.resource.update_group_members,
        v1.CreateProviderRequest: client.resource.create_provider,
        v1.UpdateProviderRequest: client.resource.update_provider,
        v1.CreateDistanceTypeRequest: client.resource.create_distance_type,
        v1.ExtendDistanceTypeRequest: client.resource.extend_distance_type,
        v1.SetQuotaRequest: client.resource.set_quota,
    }


async def look(client: "Client", wanted: "Wanted") -> "Actual":
    """Return what exists of the kinds that the file speaks of."""
    from mulligan.cli.fleet_step import Actual
    from mulligan.client.paging import every
    from mulligan.proto import v1

    resource, control = client.resource, client.control
    physical = bool(wanted.providers or wanted.inventories or wanted.machines or wanted.groups)
    measured = physical or bool(wanted.distance_types)
    groups = every(resource.list_groups, v1.ListGroupsRequest(), lambda page: page.groups)
    providers = every(
        resource.list_providers, v1.ListProvidersRequest(), lambda page: page.providers
    )
    images = every(control.list_images, v1.ListImagesRequest(), lambda page: page.images)
    credentials = every(
        control.list_credentials, v1.ListCredentialsRequest(), lambda page: page.credentials
    )
    machines = every(control.list_machines, v1.ListMachinesRequest(), lambda page: page.machines)
    kinds = every(
        resource.list_distance_types,
        v1.ListDistanceTypesRequest(),
        lambda page: page.distance_types,
    )
    quotas = every(resource.list_quotas, v1.ListQuotasRequest(), lambda page: page.quotas)
    profiles = v1.ListProfilesResponse()
    if wanted.profiles:
        profiles = await control.list_profiles(v1.ListProfilesRequest())
    logins = bool(wanted.credentials or wanted.machines)
    return Actual(
        groups={one.name: one async for one in groups} if physical else {},
        providers={one.name: one async for one in providers} if physical else {},
        images={one.name: one async for one in images} if wanted.images or wanted.profiles else {},
        credentials={one.name: one async for one in credentials} if logins else {},
        machines={one.name: one async for one in machines} if wanted.machines else {},
        distance_types={one.name: one async for one in kinds} if measured else {},
        profiles={one.name: one for one in profiles.profiles},
        quotas=by_project([one async for one in quotas], wanted) if wanted.quotas else {},
    )


def by_project(quotas: "Sequence[Quota]", wanted: "Wanted") -> "dict[str, Quota]":
    """Return quotas by what the file calls their projects: a name or a UUID."""
    return {
        name: one
        for one in quotas
        for name in (one.project_name, one.project)
        if name in wanted.quotas
    }
