"""``mulligan context``: which control plane, and as whom."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Bundle, Session, YesOption, verb
from mulligan.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound

if TYPE_CHECKING:
    from mulligan.client.context import Context, Settings

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


@dataclass(frozen=True, kw_only=True)
class Values(Bundle):
    """What a context may say; --address and --project are among the common options."""

    ca: Annotated[str, typer.Option("--ca", help="CA of the control plane, a PEM file.")] = ""
    account: Annotated[str, typer.Option("--account", help="Account to log in as.")] = ""
    in_region: Annotated[str, typer.Option("--in-region", help="Region to act in.")] = ""
    secret_file: Annotated[str, typer.Option("--secret-file", help="File of its secret.")] = ""
    cert: Annotated[str, typer.Option("--cert", help="Certificate to log in with, PEM.")] = ""
    key: Annotated[str, typer.Option("--key", help="Its private key.")] = ""

    def over(self, context: "Context", session: Session) -> "Context":
        """Return a context with the values that were given."""
        import msgspec

        files = {name: getattr(self, name) for name in ("ca", "secret_file", "cert", "key")}
        values: dict[str, Any] = {
            **{
                name: str(Path(file).expanduser().absolute())
                for name, file in files.items()
                if file
            },
            "account": self.account,
            "region": self.in_region,
            "project": session.common.project,
            "address": tuple(filter(None, session.common.address.split(","))),
        }
        given = {name: value for name, value in values.items() if value}
        return msgspec.structs.replace(context, **given)


UseOption = Annotated[bool, typer.Option("--use", help="Make it the current one.")]
PREVIOUS = "previous-context"
"""File beside the contexts that has the name of the one before the current."""

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
async def use_context(
    session: Session,
    name: Annotated[str, typer.Argument(help="Of the context; - is the previous one.")],
) -> None:
    """Make a context the current one."""
    from mulligan.client.context import config_path, load_settings

    settings = load_settings(config_path())
    if name == "-":
        name = previous(config_path())
        if not name:
            raise FailedPrecondition("there is no previous context; name one")
    known(settings, name)
    switch(settings, name)
    session.out.note(f"now using {name}")


@verb(app, "add", local=True)
async def add_context(
    session: Session, name: Annotated[str, typer.Argument()], values: Values, use: UseOption = False
) -> None:
    """Add a context; `mulligan login` does so as well, and logs in."""
    from mulligan.client.context import Context, config_path, load_settings, save_context

    settings = load_settings(config_path())
    if not name or name == "-":
        raise InvalidArgument("NAME", "cannot be empty or -")
    if name in settings.contexts:
        raise AlreadyExists(f"context {name!r} is there already; see `mulligan context edit`")
    context = values.over(Context(), session)
    if not context.address:
        raise InvalidArgument("--address", "is missing: HOST:PORT of any service")
    save_context(config_path(), name, context, make_current=False)
    if use:
        switch(load_settings(config_path()), name)
    session.out.note(f"added {name}")


@verb(app, "edit", local=True)
async def edit_context(
    session: Session, name: Annotated[str, typer.Argument()], values: Values
) -> None:
    """Change what a context says; what no option names stays."""
    import msgspec

    from mulligan.client.context import config_path, load_settings, save_context

    settings = load_settings(config_path())
    context = known(settings, name)
    changed = values.over(context, session)
    if changed == context:
        raise InvalidArgument("--address", "is missing, or any other option: nothing would change")
    same = msgspec.structs.replace(changed, project=context.project) == context
    save_context(config_path(), name, changed, make_current=False, keep_tokens=same)
    session.out.note(f"changed {name}")


@verb(app, "rename", local=True)
async def rename_context(
    session: Session,
    name: Annotated[str, typer.Argument()],
    to: Annotated[str, typer.Argument(metavar="NEW")],
) -> None:
    """Call a context otherwise; its tokens are forgotten."""
    from mulligan.client.context import Settings, config_path, load_settings, save_settings
    from mulligan.client.tokens import TokenCache

    settings = load_settings(config_path())
    known(settings, name)
    if to in settings.contexts or not to or to == "-":
        raise AlreadyExists(f"a context cannot be called {to!r}: that is taken")
    contexts = {to if key == name else key: value for key, value in settings.contexts.items()}
    current = to if settings.current == name else settings.current
    save_settings(config_path(), Settings(current=current, contexts=contexts))
    TokenCache.at(name).forget()
    session.out.note(f"{name} is now {to}")


@verb(app, "delete", local=True)
async def delete_context(
    session: Session,
    names: Annotated[list[str], typer.Argument(metavar="NAME...")],
    yes: YesOption = False,
) -> None:
    """Forget contexts and their tokens; the control planes are not touched."""
    from mulligan.client.context import Settings, config_path, load_settings, save_settings
    from mulligan.client.tokens import TokenCache

    settings = load_settings(config_path())
    for name in names:
        known(settings, name)
    session.confirm_several("delete", names, yes)
    contexts = {key: value for key, value in settings.contexts.items() if key not in names}
    current = "" if settings.current in names else settings.current
    save_settings(config_path(), Settings(current=current, contexts=contexts))
    for name in names:
        TokenCache.at(name).forget()
        session.out.note(f"deleted {name}")


def known(settings: "Settings", name: str) -> "Context":
    """Return a context; raise NotFound, with those that there are, for an unknown name."""
    from mulligan.client.context import config_path

    if name not in settings.contexts:
        error = NotFound("context", name)
        there = ", ".join(sorted(settings.contexts)) or "none yet"
        error.message = f"context {name!r} is not in {config_path()}; known: {there}"
        raise error
    return settings.contexts[name]


def switch(settings: "Settings", name: str) -> None:
    """Make a context the current one, and remember which it was."""
    import msgspec

    from mulligan.client.context import config_path, save_settings
    from mulligan.client.files import write_private

    if settings.current and settings.current != name:
        write_private(config_path().with_name(PREVIOUS), settings.current)
    save_settings(config_path(), msgspec.structs.replace(settings, current=name))


def previous(path: Path) -> str:
    """Return the name of the context that was in use before; empty if nobody knows."""
    try:
        return path.with_name(PREVIOUS).read_text().strip()
    except OSError:
        return ""


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
