"""``mulligan archive restore``: the log brought back from its archive, on the region's host."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.on_host import DEFAULT_STATE, ConfigOption, StateOption, config_of
from mulligan.cli.progress import Progress
from mulligan.cli.verbs import YesOption
from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.quantities import format_time, parse_time

if TYPE_CHECKING:
    from mulligan.config import Config
    from mulligan.log.restore_plan import Plan, Wish
    from mulligan.model import Seq

app = typer.Typer(rich_markup_mode=None)


@app.command("restore")
def restore(
    source: Annotated[
        str, typer.Option("--from", help="The archive: folder or URL [archive.location].")
    ] = "",
    to: Annotated[str, typer.Option("--to", help="Last entry, or a time; all by default.")] = "",
    secrets: Annotated[
        Path | None, typer.Option("--secrets", help="Also what `backup secrets` has saved.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Trust these log keys only (`log keys`).")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only prove it, and say what.")
    ] = False,
    accept: Annotated[
        bool,
        typer.Option("--accept-loss", help="Bring nothing back: go on from where etcd stands."),
    ] = False,
    yes: YesOption = False,
    state: StateOption = DEFAULT_STATE,
    config: ConfigOption = None,
) -> int:
    """Bring the log back from its archive, into an empty etcd or one that was put back.

    Stop every service of the region first. The whole archive is proven before anything is written.
    """
    import anyio

    from mulligan.cli.offline_proof import read_keys
    from mulligan.log.restore_plan import Wish
    from mulligan.model import RegionName

    configured = config_of(state, config)
    if accept:
        agree_to("give up what etcd has lost, and go on as a log of its own?", yes)
        typer.echo(anyio.run(_accept, configured))
        return 0
    wish = Wish(
        region=RegionName(configured.region),
        to=parse_to(to) if to else None,
        keys=tuple(read_keys(keys)) if keys is not None else None,
    )

    def agree(plan: "Plan") -> bool:
        typer.echo(described(plan, configured.region))
        if dry_run or plan.mode == "nothing":
            return False
        agree_to("restore?", yes)
        return True

    done = anyio.run(_restore, configured, source, wish, secrets, agree, dry_run)
    typer.echo(done)
    return 0


def agree_to(question: str, yes: bool) -> None:
    """Return if the user agrees; raise FailedPrecondition if not, or if none can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise FailedPrecondition(f"{question} Nobody is there to ask: add --yes")
    if not typer.confirm(question, err=True):
        raise FailedPrecondition("nothing was done")


def parse_to(text: str) -> "Seq | datetime":
    """Read an entry's number or a time; raise InvalidArgument."""
    from mulligan.model import Seq

    if text.isdecimal():
        if not 1 <= int(text) < 2**63:
            raise InvalidArgument("--to", f"{text} is no entry")
        return Seq(int(text))
    return parse_time(text, datetime.now(UTC), "--to")


def described(plan: "Plan", region: str) -> str:
    """Say what a plan does."""
    proven = f"the archive is sound: entries 1 to {plan.last}, of {format_time(plan.at)}"
    if plan.vouched is not None:
        proven += f", signed up to {plan.vouched.seq}"
    if plan.mode == "nothing":
        return f"{proven}\netcd has all of it already"
    if plan.mode == "extend":
        lost = plan.last - plan.first + 1
        what = f"etcd ends at {plan.first - 1}: {lost} entries are brought back, up to {plan.last}"
    else:
        kept = f"entries {plan.first} to {plan.last} go into etcd"
        what = f"etcd is empty: {kept}, {len(plan.segments)} segments stay in the archive"
    if plan.fork:
        origin = plan.identity.seeded[-1]
        what += (
            f"\n{region} becomes a log of its own, {plan.identity.log_id}, which goes on from"
            f" {origin.region}:{origin.seq}"
        )
    return f"{proven}\n{what}"


async def _restore(
    config: "Config",
    source: str,
    wish: "Wish",
    secrets: Path | None,
    agree: "Callable[[Plan], bool]",
    dry_run: bool,
) -> str:
    from mulligan.embedded.offline import etcd_of, require_stopped
    from mulligan.log.depot import open_depot
    from mulligan.log.holding import survey
    from mulligan.log.restore_plan import look, plan_restore
    from mulligan.log.restoring import Restore
    from mulligan.services.secrets.backup import bring_back, read_secrets, require_of

    target = open_depot(config.archive.location)
    depot = open_depot(_located(source)) if source else target
    saved = read_secrets(secrets) if secrets is not None else None
    if saved is not None:
        require_of(saved[0], wish.region)
    with Progress() as progress:

        def show(what: str, done: int, total: int) -> None:
            progress.show(what, f"{done}/{total}", done, total)

        async with etcd_of(config) as etcd:
            if not dry_run:
                await require_stopped(etcd, wish.region)
            holding = await survey(depot)
            found = await look(etcd, wish.region)
            plan = await plan_restore(found, depot, holding, wish, show)
            restoring = Restore(etcd, wish.region, depot, target, show)
            await restoring.require_room(holding, plan)
            with progress.away():
                agreed = agree(plan)
            if agreed:
                await restoring.run(found, holding, plan)
            brought = 0
            if saved is not None and not dry_run:
                brought = await bring_back(etcd, wish.region, saved[1])
    said = (
        f"restored {wish.region}:{plan.last}, {plan.hash}" if agreed else "the log stays as it is"
    )
    if saved is not None:
        said += f"; {brought} secrets came back"
    return f"{said}\nnext: start the services, then mulligan log verify and mulligan status"


async def _accept(config: "Config") -> str:
    from mulligan.embedded.offline import etcd_of, require_stopped
    from mulligan.log.accepting import accept_loss
    from mulligan.log.depot import open_depot
    from mulligan.model import RegionName

    region = RegionName(config.region)
    async with etcd_of(config) as etcd:
        await require_stopped(etcd, region)
        identity = await accept_loss(etcd, region, open_depot(config.archive.location))
    return (
        f"{region} is the log {identity.log_id} from entry {identity.seeded[-1].seq} on\n"
        "next: start the services, then mulligan rebuild: read models are folded anew"
    )


def _located(text: str) -> str:
    from mulligan.config import Location

    try:
        return Location.parse(text).below(Path.cwd())
    except ValueError as error:
        raise InvalidArgument("--from", str(error)) from error
