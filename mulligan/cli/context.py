"""``mulligan context``: which control plane, and as whom."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb

if TYPE_CHECKING:
    from mulligan.client.context import Context

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@dataclass(frozen=True)
class Listed:
    """A context as it is printed."""

    name: str
    current: bool
    address: list[str]
    ca: str
    account: str
    project: str
    region: str


COLUMNS = (
    Column("CURRENT", lambda one: "*" if one.current else ""),
    Column("NAME", lambda one: one.name),
    Column("ADDRESS", lambda one: ",".join(one.address)),
    Column("ACCOUNT", lambda one: one.account),
    Column("PROJECT", lambda one: one.project),
    Column("REGION", lambda one: one.region),
    Column("CA", lambda one: one.ca, wide=True),
)


@verb(app, "list")
async def list_contexts(session: Session) -> None:
    """List the contexts."""
    from mulligan.client.context import config_path, load_settings

    settings = load_settings(config_path())
    rows = [
        listed(name, context, current=name == settings.current)
        for name, context in sorted(settings.contexts.items())
    ]
    session.out.rows(rows, COLUMNS, f"no contexts in {config_path()}; `mulligan up` makes one")


@verb(app, "use", local=True)
async def use_context(session: Session, name: Annotated[str, typer.Argument()]) -> None:
    """Make a context the current one."""
    import msgspec

    from mulligan.client.context import choose_context, config_path, load_settings, save_settings

    choose_context(config_path(), name)
    settings = load_settings(config_path())
    save_settings(config_path(), msgspec.structs.replace(settings, current=name))
    session.out.note(f"now using {name}")


@verb(app, "show")
async def show_context(
    session: Session, name: Annotated[str, typer.Argument(help="Default: the current one.")] = ""
) -> None:
    """Show a context with what the environment and options change in it."""
    from mulligan.client.context import choose_context, config_path

    overrides = {"address": session.common.address, "project": session.common.project}
    chosen = choose_context(config_path(), name or session.common.context, overrides=overrides)
    session.out.one(listed(chosen.name, chosen.context, current=True), COLUMNS[1:])


def listed(name: str, context: "Context", *, current: bool) -> Listed:
    """Return a context in the form that is printed."""
    return Listed(
        name=name,
        current=current,
        address=list(context.address),
        ca=context.ca,
        account=context.account,
        project=context.project,
        region=context.region,
    )
