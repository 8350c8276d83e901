"""``mulligan console``: the operator's console, in this terminal or as a web page."""

import sys
from typing import Annotated

import typer

from mulligan.cli.verbs import Session, YesOption, verb
from mulligan.errors import FailedPrecondition, InvalidArgument

app = typer.Typer(rich_markup_mode=None)

DEFAULT_PORT = 7080


@verb(app, "console", reads=True)
async def console(
    session: Session,
    web: Annotated[bool, typer.Option("--web", help="Serve it as a web page.")] = False,
    host: Annotated[str, typer.Option(help="With --web: where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="With --web: the port; 0 takes a free one.", min=0, max=65535)
    ] = DEFAULT_PORT,
    page: Annotated[
        str, typer.Option(help="Page to begin with: fleet, log, history, claims, …")
    ] = "fleet",
    yes: YesOption = False,
) -> None:
    """Watch the fleet, the log and the claims, look back in time, and act.

    With --web, whoever opens the page that is printed acts as you. It listens on this host only
    and asks for a key; another --host needs --yes, for the page is served without TLS.
    """
    from mulligan.console.pages import PAGES

    if page not in {one.name for one in PAGES}:
        raise InvalidArgument("--page", f"{page!r} is none of {', '.join(p.name for p in PAGES)}")
    if web:
        await _serve(session, host, port, page, yes=yes)
    else:
        await _show(session, page)


async def _show(session: Session, page: str) -> None:
    from mulligan.console.app import ConsoleApp
    from mulligan.console.source import Source

    if not served() and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise FailedPrecondition(
            "the console needs a terminal; `mulligan status` prints how things are, and"
            " `mulligan console --web` serves a page"
        )
    session.haste = True
    client = session.client
    shown = ConsoleApp(Source(client.at("")), at=session.at, page=page)
    if session.common.region:
        await shown.run_async()
    else:
        async with client:
            await shown.run_async()
    if shown.ended_by is not None:
        raise shown.ended_by


async def _serve(session: Session, host: str, port: int, page: str, *, yes: bool) -> None:
    from mulligan.console.web.server import WebConsole, is_local

    if not is_local(host) and not yes:
        raise InvalidArgument(
            "--host",
            f"{host} is reached from elsewhere, and the page is served without TLS: who listens"
            " on the way can act as you. Keep to 127.0.0.1 and tunnel to it"
            " (ssh -L 7080:127.0.0.1:7080), or repeat with --yes behind a proxy with TLS",
        )

    def ready(url: str) -> None:
        session.out.tell(f"the console is at {url}")
        session.out.note("whoever opens it acts as you; Ctrl-C stops it")
        sys.stdout.flush()

    command = [sys.executable, "-m", "mulligan.cli.start", *_options(session)]
    await WebConsole([*command, "console", "--page", page], host, port).serve(ready)


def served() -> bool:
    """Tell whether this process draws for a browser."""
    import os

    return "web_driver" in os.environ.get("TEXTUAL_DRIVER", "")


def _options(session: Session) -> list[str]:
    """Return the options that choose what this process talks to, for another one."""
    common = session.common
    given = {
        "--context": common.context,
        "--address": common.address,
        "--project": common.project,
        "--region": common.region,
        "--at": common.at,
    }
    words = [word for name, value in given.items() if value for word in (f"{name}={value}",)]
    return [*words, "--stale"] if common.stale else words
