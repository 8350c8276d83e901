"""The options of enrolling a list."""

from dataclasses import dataclass
from typing import Annotated

import typer

from mulligan.cli.bulk import AT_MOST
from mulligan.cli.selection import DryRunOption
from mulligan.cli.verbs import Bundle


@dataclass(frozen=True, kw_only=True)
class Wishes(Bundle):
    """How a list is enrolled: only tried out, inspected as well, waited for."""

    dry_run: DryRunOption = False
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Start to inspect what is enrolled, too.")
    ] = False
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="With --inspect: return when it is done.")
    ] = False
    timeout: Annotated[str, typer.Option("--timeout", help="How long to wait: 30m, 2h.")] = AT_MOST
