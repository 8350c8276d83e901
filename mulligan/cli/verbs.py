"""How a noun's verbs become commands: common options, one client for the call, clean-up."""

import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, cast

import typer

from mulligan.cli.output import Format, Output
from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.quantities import parse_time

if TYPE_CHECKING:
    from mulligan.client.client import Client
    from mulligan.client.context import Chosen
    from mulligan.client.tokens import TokenCache

P = ParamSpec("P")
PANEL = "Common options"

ContextOption = Annotated[
    str, typer.Option("--context", help="Context to use [env MULLIGAN_CONTEXT].", metavar="NAME")
]
AddressOption = Annotated[
    str,
    typer.Option(
        "--address", help="Address of any service [env MULLIGAN_ADDRESS].", metavar="HOST:PORT"
    ),
]
ProjectOption = Annotated[
    str,
    typer.Option("--project", help="Project to act in [env MULLIGAN_PROJECT].", metavar="NAME"),
]
FormatOption = Annotated[
    Format | None,
    typer.Option("-o", "--output", help="How to print what is found [env MULLIGAN_OUTPUT]."),
]
StaleOption = Annotated[
    bool,
    typer.Option(
        "--stale", help="Accept answers older than what was just written [env MULLIGAN_STALE]."
    ),
]
AtOption = Annotated[
    str,
    typer.Option(
        "--at",
        help="As of an entry or a time: 1234, -2h, 2027-01-31T08:00 [env MULLIGAN_AT].",
        metavar="T",
    ),
]
RegionOption = Annotated[
    str,
    typer.Option("--region", help="Act in that region, found through this one.", metavar="NAME"),
]
RegionsOption = Annotated[
    str,
    typer.Option(
        "--regions", help="Ask these regions at once: east,west, or all.", metavar="NAMES"
    ),
]
TraceOption = Annotated[
    bool,
    typer.Option(
        "--trace", help="Trace the command, and print the trace's id [env MULLIGAN_TRACE]."
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "-v", "--verbose", help="Tell each call, retry and reason [env MULLIGAN_VERBOSE]."
    ),
]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Print the UUID only.")]
WatchOption = Annotated[
    bool, typer.Option("--watch", help="Go on, and show what changes, until Ctrl-C.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_COMMON: dict[str, tuple[Any, Any]] = {
    "context": (ContextOption, ""),
    "address": (AddressOption, ""),
    "project": (ProjectOption, ""),
    "output": (FormatOption, None),
    "stale": (StaleOption, False),
    "at": (AtOption, ""),
    "region": (RegionOption, ""),
    "trace": (TraceOption, False),
    "verbose": (VerboseOption, False),
}

WATCHED = frozenset({"list", "show", "status", "tree"})
"""Verbs that take ``--watch`` where they read."""
LASTING = frozenset({"delete", "disconnect"})
"""Verbs that cannot be undone."""
ACTING = frozenset(
    (
        *("create", "set", "add", "enable", "bind", "add-certificate", "connect", "seal"),
        *("delete", "update", "remove", "disable", "unbind", "remove-certificate", "disconnect"),
        *("make", "exact", "release", "move", "reshape", "extend", "shorten", "move-start"),
        *("cancel", "cordon", "uncordon", "deploy", "retry", "rebuild", "revoke", "secret"),
        *("rotate", "rekey", "checkpoint", "passwd"),
    )
)
"""Verbs that change something, and take ``--dry-run`` unless they have one of their own."""


@dataclass(frozen=True)
class Common:
    """The options that every command takes, before the noun or after the verb."""

    context: str = ""
    address: str = ""
    project: str = ""
    output: Format | None = None
    stale: bool = False
    at: str = ""
    region: str = ""
    trace: bool = False
    verbose: bool = False

    def under(self, given: dict[str, Any]) -> "Common":
        """Return these options with those that were given after the verb over them."""
        values = {name: given.get(name) or getattr(self, name) for name in _COMMON}
        return Common(**values)

    def in_environment(self, reads: bool) -> "Common":
        """Return these options with what the environment says where none was given.

        MULLIGAN_AT is for what reads, so that it keeps nobody from acting.
        """
        form = os.environ.get("MULLIGAN_OUTPUT", "")
        if self.output is None and form and form not in {str(one) for one in Format}:
            raise InvalidArgument("MULLIGAN_OUTPUT", f"{form!r} is none of {', '.join(Format)}")
        return replace(
            self,
            output=self.output or (Format(form) if form else None),
            stale=self.stale or _is_set("MULLIGAN_STALE"),
            at=self.at or (os.environ.get("MULLIGAN_AT", "") if reads else ""),
            trace=self.trace or _is_set("MULLIGAN_TRACE"),
            verbose=self.verbose or _is_set("MULLIGAN_VERBOSE"),
        )


def _is_set(name: str) -> bool:
    """Tell whether a variable of the environment says yes."""
    return os.environ.get(name, "") in ("1", "true", "yes")


class Bundle:
    """Options that several verbs take together: a frozen dataclass, each field one for Typer."""


@dataclass
class Session:
    """What a verb works with; the client connects at its first call."""

    common: Common
    out: Output
    dry_run: bool = False
    holds: bool = False
    """Whether the verb shows a dry run of its own: nothing that it might send changes anything."""
    haste: bool = False
    """Whether a call gives up within seconds rather than wait out a restart."""
    _client: "Client | None" = field(default=None, init=False)
    _home: "Client | None" = field(default=None, init=False)

    @property
    def client(self) -> "Client":
        """The smart client of the chosen context."""
        if self._client is None:
            from mulligan.client.client import Client
            from mulligan.client.context import config_path

            chosen = self.chosen
            self._client = Client(
                chosen.context,
                secret=chosen.secret,
                cache=self.cache,
                allow_stale=self.common.stale,
                patience=self.patience,
                at=self.at,
                config=config_path(),
            )
        return self._client

    @property
    def patience(self) -> float:
        """How many seconds a call waits out restarts."""
        usual = 60.0 if self.at else 3.0 if self.haste else 15.0
        return float(os.environ.get("MULLIGAN_PATIENCE", usual))

    def use(self, client: "Client") -> None:
        """Work with this client, which its maker closes."""
        self._client = client

    async def enter(self) -> None:
        """Go to the region of ``--region``; raise what finding it raises."""
        if self.common.region:
            self._home = self.client
            self.use(await self._home.regions.client(self.common.region))

    @property
    def at(self) -> str:
        """The entry or time as of which is read, as the services take it; empty for the present."""
        text = self.common.at.strip().removeprefix("#")
        if not text or text.isdecimal():
            return text
        return parse_time(text, datetime.now(UTC), "--at").isoformat()

    @property
    def chosen(self) -> "Chosen":
        """The context with all overrides."""
        from mulligan.client.context import choose_context, config_path

        overrides = {"address": self.common.address, "project": self.common.project}
        return choose_context(config_path(), self.common.context, overrides=overrides)

    @property
    def cache(self) -> "TokenCache":
        """Where the context's tokens are kept."""
        from mulligan.client.tokens import TokenCache

        return TokenCache.at(self.chosen.name)

    def confirm(self, question: str, yes: bool) -> None:
        """Return if the user agrees; raise FailedPrecondition if not, or if none can be asked."""
        if yes or self.dry_run:
            return
        if not sys.stdin.isatty():
            raise FailedPrecondition(f"{question} Nobody is there to ask: add --yes")
        if not typer.confirm(question, err=True):
            raise FailedPrecondition("nothing was done")

    def confirm_several(self, verb: str, names: Sequence[str], yes: bool) -> None:
        """Ask before a destructive verb is applied to several objects.

        On a terminal it is asked before a single one is deleted, too: that cannot be undone.
        """
        if len(names) > 1:
            shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            self.confirm(f"{verb} {len(names)} objects ({shown})?", yes)
        elif verb in LASTING and sys.stdin.isatty():
            self.confirm(f"{verb} {names[0]}? That cannot be undone.", yes)

    def note_moment(self) -> None:
        """Say as of which entry it was answered, to people."""
        shown = self._client.shown if self._client is not None else None
        if shown is not None and self.out.for_people:
            seq, at = shown
            self.out.note(f"as of #{seq}, {at:%Y-%m-%d %H:%M:%S} UTC")

    def close(self) -> None:
        """Close the client, if there is one."""
        client = self._home or self._client
        if client is not None:
            client.close()


def verb(
    app: typer.Typer,
    name: str,
    *,
    reads: bool = False,
    across: bool = False,
    watched: bool | None = None,
    local: bool = False,
) -> Callable[
    [Callable[Concatenate[Session, P], Awaitable[None]]],
    Callable[Concatenate[Session, P], Awaitable[None]],
]:
    """Register an async function as a command.

    Its parameters after the session become the command's, a ``Bundle`` those of its fields,
    followed by the common options that it does not define itself. A parameter called ``quiet``
    silences everything but UUIDs. With ``reads`` it only reads, of what has a past, and takes
    ``--at``; any other refuses it before it does anything. With ``across`` it takes ``--regions``
    and is done in each of these. One that reads and is called like those of WATCHED takes
    ``--watch``, unless ``watched`` says otherwise; one of ACTING takes ``--dry-run``, unless it is
    ``local``, to this host.
    """

    def register(
        function: Callable[Concatenate[Session, P], Awaitable[None]],
    ) -> Callable[Concatenate[Session, P], Awaitable[None]]:
        taken = list(inspect.signature(function).parameters.values())[1:]
        bundles = {one.name: one.annotation for one in taken if _is_bundle(one)}
        own = [part for one in taken for part in _parts(one)]
        names = {parameter.name for parameter in own}
        added = {key: value for key, value in _COMMON.items() if key not in names}
        if across:
            added["regions"] = (RegionsOption, "")
        if (reads and name in WATCHED) if watched is None else watched:
            added["watch"] = (WatchOption, False)
        if name in ACTING and not local and "dry_run" not in names:
            added["dry_run"] = (DryRunOption, False)

        def command(**given: Any) -> None:
            context = cast(typer.Context, given.pop("typer_context"))
            outer = context.find_root().obj
            outer = outer if isinstance(outer, Common) else Common()
            regions = given.pop("regions") if across else ""
            watch = given.pop("watch") if "watch" in added else False
            dry_run = given.pop("dry_run") if "dry_run" in added else False
            holds = bool(given.get("dry_run"))
            common = outer.under({key: given.pop(key) for key in added if key in _COMMON})
            common = common.in_environment(reads)
            if common.at and not reads:
                raise InvalidArgument("--at", f"`{name}` acts or tells of now; leave it out")
            out = Output(common.output or Format.TABLE, quiet=bool(given.get("quiet")))
            for key, kind in bundles.items():
                given[key] = kind(**{part.name: given.pop(part.name) for part in fields(kind)})
            session = Session(common, out, dry_run=dry_run, holds=holds)
            doing = _doing(function, session, given, regions, watch)
            _run(doing, session, function.__name__, watch=watch)

        parameters = [_keyword(parameter) for parameter in own]
        parameters += [
            inspect.Parameter(
                key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for key, (annotation, default) in added.items()
        ]
        context_parameter = inspect.Parameter(
            "typer_context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
        )
        signature = inspect.Signature([context_parameter, *parameters])
        cast(Any, command).__signature__ = signature
        cast(Any, command).reads = reads
        cast(Any, command).common = tuple(key for key in added if key in _COMMON)
        command.__annotations__ = {
            parameter.name: parameter.annotation for parameter in signature.parameters.values()
        }
        command.__doc__ = function.__doc__
        app.command(name)(command)
        return function

    return register


def _is_bundle(parameter: inspect.Parameter) -> bool:
    kind = parameter.annotation
    return inspect.isclass(kind) and issubclass(kind, Bundle)


def _parts(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """Return what a parameter is on the command line: itself, or the fields of a bundle."""
    if not _is_bundle(parameter):
        return [parameter]
    return [
        inspect.Parameter(
            part.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if part.default is MISSING else part.default,
            annotation=part.type,
        )
        for part in fields(parameter.annotation)
    ]


def _keyword(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


async def _doing(
    function: Callable[..., Awaitable[None]],
    session: Session,
    given: dict[str, Any],
    regions: str,
    watch: bool,
) -> None:
    """Do a verb once, in several regions, again and again, or only so far as it reads."""
    if regions and watch:
        raise InvalidArgument("--watch", "is of one region; leave out --regions")
    if regions:
        from mulligan.cli.across import everywhere

        await everywhere(function, session, given, regions)
    elif watch:
        from mulligan.cli.watch import watch as watch_it

        await watch_it(function, session, given)
    elif session.dry_run:
        from mulligan.cli.dry_run import try_out

        await session.enter()
        await try_out(function, session, given)
    else:
        await session.enter()
        if session.holds:
            from mulligan.cli.dry_run import hold

            hold(session)
        await function(session, **given)
        session.note_moment()


def _run(doing: Coroutine[Any, Any, None], session: Session, name: str, *, watch: bool) -> None:
    import asyncio

    async def run() -> None:
        try:
            await doing
        finally:
            session.close()

    with _telling(session.common, watch):
        if session.common.trace or os.environ.get("MULLIGAN_TRACE_ENDPOINT"):
            from mulligan.cli.traced import run_traced

            wanted = session.common.trace
            asyncio.run(run_traced(name, run, wanted=wanted, say=session.out.for_people))
        else:
            asyncio.run(run())


def _telling(common: Common, watch: bool) -> AbstractContextManager[None]:
    """Tell in the block what the client does: all of it, or what people at a terminal wait for."""
    if not common.verbose and (watch or not sys.stderr.isatty()):
        return nullcontext()
    from mulligan.cli.telling import telling

    return telling(sys.stderr, verbose=common.verbose)
