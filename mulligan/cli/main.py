"""The command ``mulligan``: nouns and verbs, and no traceback ever."""

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command

from mulligan import __version__
from mulligan.cli.grammar import Noun, Verbs, Word
from mulligan.cli.report import report
from mulligan.cli.verbs import (
    AddressOption,
    AtOption,
    Common,
    ContextOption,
    FormatOption,
    ProjectOption,
    RegionOption,
    StaleOption,
    TraceOption,
    VerboseOption,
)
from mulligan.wording import harmless

NOUNS: dict[str, tuple[str, str]] = {
    "init": ("run", "Set up a region: CA, admin account, configuration."),
    "up": ("run", "Run everything here, with an embedded etcd and Postgres."),
    "serve": ("run", "Run one service."),
    "demo": ("run", "Start everything with an emulated fleet and walk through it."),
    "login": ("login", "Log in and remember the tokens."),
    "logout": ("login", "End the session and forget the tokens of a context."),
    "passwd": ("login", "Give your own account another secret."),
    "whoami": ("login", "Show who you are and what you may do."),
    "context": ("context", "Choose between control planes and identities."),
    "status": ("status", "Show services, the log, projections, and machines in trouble."),
    "console": ("console", "Watch the fleet and the log, look back in time, and act."),
    "configure": ("configure", "Show and change what running services go by."),
    "machine": ("machine", "Find, enrol, inspect, deploy, rescue and release machines."),
    "claim": ("claim", "Take and give back resources."),
    "reservation": ("reservation", "Claim resources ahead of time."),
    "image": ("image", "Manage images to deploy."),
    "user-data": ("user_data", "Manage what machines are given at their first boot."),
    "profile": ("profile", "Say how machines of one make are treated."),
    "brake": ("brake", "See and release what stops actions after many failures."),
    "credential": ("credential", "Manage BMC logins."),
    "provider": ("provider", "Manage what offers resources."),
    "inventory": ("inventory", "See and set what a provider offers."),
    "group": ("group", "Manage sets of providers."),
    "capability": ("capability", "See what providers can be said to have."),
    "distance": ("distance", "Manage kinds of distance between providers and groups."),
    "quota": ("quota", "Limit what projects use."),
    "usage": ("usage", "Sum up use by project, account, provider, group or class."),
    "apply": ("apply", "Make the inventory what a YAML file says."),
    "account": ("account", "Manage accounts and their roles."),
    "application-credential": ("application_credential", "Manage what acts for you."),
    "role": ("role", "See what roles there are."),
    "project": ("project", "Manage projects."),
    "region": ("region", "See and connect regions, and say what this one is like."),
    "iam": ("iam", "Rotate keys, seal secrets anew, take over users from elsewhere."),
    "name": ("name", "Look up names and UUIDs."),
    "tag": ("tag", "Tag objects of any kind."),
    "metadata": ("metadata", "See, set and search attributes of objects."),
    "metadef": ("metadef", "Define attributes that objects may carry."),
    "audit": ("audit", "Show who did what and who was denied what."),
    "log": ("log", "Read and verify the event log."),
    "diff": ("diff", "Show what differs between two moments."),
    "archive": ("archive", "See and check the log's archive, and restore from it."),
    "backup": ("backup", "Save what the archive does not keep, on the region's host."),
    "certificate": ("certificate", "Renew and issue certificates of the region, on its host."),
    "projection": ("projection", "See the read models, and try a halted one again."),
    "rebuild": ("rebuild", "Build read models anew from the log."),
    "replay": ("replay", "Put a log through this version, to check it or to look back."),
    "completion": ("completion", "Print what sets up completion by TAB in a shell."),
    "help": ("help", "Explain a command or a topic; print the man page."),
    "version": ("version", "Print the version."),
}
"""Each first word of a command: the module of ``mulligan.cli`` that has it, and its help.

A module has an ``app``, a Typer. Where that has a command called as the first word itself, the word
is that command; else it is a noun and the commands are its verbs.
"""


class Nouns(Noun):
    """The first words, of which only the one in use is imported."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, text) in NOUNS.items():
            self.commands[name] = Word(name, help=text, rich_markup_mode=None)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the first words, in the order of the table."""
        return list(NOUNS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import what the first word stands for."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in NOUNS else command, rest


def load(name: str) -> Any:
    """Return the command or group that a first word stands for."""
    module, text = NOUNS[name]
    verbs = Verbs(import_module(f"mulligan.cli.{module}").app)
    if name in verbs:
        return verbs[name]
    noun = Noun(name=name, help=text, no_args_is_help=True, rich_markup_mode=None)
    noun.commands = verbs
    return noun


app = typer.Typer(
    cls=Nouns,
    name="mulligan",
    help="Provision machines: an inventory, claims over time, and a log of everything.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def print_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"mulligan {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    name: ContextOption = "",
    address: AddressOption = "",
    project: ProjectOption = "",
    output: FormatOption = None,
    stale: StaleOption = False,
    at: AtOption = "",
    region: RegionOption = "",
    trace: TraceOption = False,
    verbose: VerboseOption = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Keep the options that stand before the noun."""
    context.obj = Common(name, address, project, output, stale, at, region, trace, verbose)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit code."""
    prepare_streams()
    try:
        result = get_command(app).main(
            list(arguments) if arguments is not None else None,
            prog_name="mulligan",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("\nstopped\n")
        return 130
    except BrokenPipeError:
        write_nowhere()
        return 141
    except OSError as error:
        if error.errno == errno.ENOSPC:
            write_nowhere()
        return report(error)
    except Exception as error:
        return report_any(error)
    return result if isinstance(result, int) else 0


def write_nowhere() -> None:
    """Give up what is still to be printed; a flush at the exit must not complain about it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def prepare_streams() -> None:
    """Make sure that there is something to write to, and that it takes any character."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def report_any(error: Exception) -> int:
    """Print an error of ours or of the command line's grammar; return the exit code."""
    show = getattr(error, "show", None)
    if show is None:
        return report(error)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stdout.write(f"{error}\n")
        return 0
    usage = getattr(error, "ctx", None)
    message = harmless(error.format_message())  # type: ignore[attr-defined]
    sys.stderr.write(f"error: {message}\n")
    if usage is not None:
        sys.stderr.write(f"  next: see `{usage.command_path} --help`\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
