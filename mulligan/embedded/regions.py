"""`mulligan up --regions`: several whole regions on one machine, which know each other.

Each region has a supervisor of its own, with its own etcd, Postgres, log and CA, in a folder of its
own; one more supervisor starts and stops them. So whatever happens in one region stays there.
"""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mulligan.config import Config, load
from mulligan.embedded.neighbours import introduce
from mulligan.embedded.region import RegionPaths, init_region, ports_of
from mulligan.embedded.supervisor import Child, Supervisor
from mulligan.embedded.up import PRELOAD, remember, run_quietly, warn
from mulligan.errors import InvalidArgument, MulliganError
from mulligan.handlers.region_form import check_name

PATIENCE_S = 45.0
"""Seconds for a region to stop: its services first, then its etcd and Postgres."""
MOST = 16
_TAKEN = frozenset({"cache", "etcd", "images", "logs", "postgres", "run", "tls"})
_PRELOAD = (*PRELOAD, "mulligan.embedded.neighbours", "mulligan.client.client")

Ready = Callable[[Config, float], None]


def names_of(text: str) -> tuple[str, ...]:
    """Return the regions of a list with commas; raise InvalidArgument for what cannot be some."""
    names = tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
    if not names:
        raise InvalidArgument("--regions", "name the regions, as in --regions east,west")
    if len(names) > MOST:
        raise InvalidArgument("--regions", f"at most {MOST} on one machine")
    for name in names:
        check_name(name, "--regions")
        if name in _TAKEN:
            raise InvalidArgument("--regions", f"{name!r} is a folder's name here; choose another")
    return names


def init_regions(state: Path, names: Sequence[str]) -> list[Config]:
    """Make what is missing of the regions' folders, below ``state``; return what they say.

    No two regions get the same port, and none the usual ones, which a region alone has. Raise what
    ``init_region`` raises.
    """
    state = state.expanduser().resolve()
    found = {
        name: load(path, os.environ)
        for name in names
        if (path := RegionPaths(state_dir=state / name).config).exists()
    }
    taken = {port for config in found.values() for port in ports_of(config)}
    for name in names:
        paths = init_region(state / name, name, usual_ports=False, avoid=taken)
        found[name] = load(paths.config, os.environ)
        taken |= ports_of(found[name])
    return [found[name] for name in names]


def run_regions(state: Path, names: Sequence[str], *, on_ready: Ready) -> int:
    """Run the regions until a signal, and have them know each other; return the exit code.

    ``on_ready`` is called for each, with seconds, when all of it serves.
    """
    configs = init_regions(state, names)
    for index, config in enumerate(configs):
        paths = RegionPaths(state_dir=config.state_dir)
        remember(config, paths, config.region, make_current=index == 0)
    warn(configs)
    children = [
        Child(name=config.region, run=partial(_run_one, config, on_ready)) for config in configs
    ]
    if len(configs) > 1:
        introducing = partial(introduce, configs)
        children.append(Child(name="introductions", run=introducing, once=True))
    supervisor = Supervisor(
        children,
        state.expanduser().resolve(),
        preload=_PRELOAD,
        patience=PATIENCE_S,
        log_files=False,
    )
    return supervisor.run()


def _run_one(config: Config, on_ready: Ready) -> int:
    try:
        return run_quietly(config, on_ready=partial(on_ready, config))
    except MulliganError as error:
        sys.stderr.write(f"region {config.region} does not start: {error.message}\n")
        return 1
