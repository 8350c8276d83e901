"""`mulligan up`: a whole region in one process tree."""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import anyio

from mulligan.client.context import Context, config_path, save_context
from mulligan.config import Config
from mulligan.embedded.before import require_startable
from mulligan.embedded.certificates import Certificates
from mulligan.embedded.process import last_lines
from mulligan.embedded.ready import NotServing, all_serving
from mulligan.embedded.region import RegionPaths, embedded_etcd, server_children
from mulligan.embedded.supervisor import Child, Supervisor
from mulligan.errors import MulliganError
from mulligan.services import process
from mulligan.services.serve import SERVICES

PRELOAD = (
    "mulligan.services.serve",
    "mulligan.embedded.ready",
    "uvloop",
)
"""Imported once, before the children are forked, which then share the memory."""

TOLD_AFTER_S = 15.0
"""Seconds after which it is said which services do not serve yet."""
_TOLD = 3
RENEW_EVERY_S = 86_400.0


def context_of(config: Config, paths: RegionPaths) -> Context:
    """Return how a client on this host reaches the region as its administrator."""
    return Context(
        address=tuple(str(getattr(config.listen, name)) for name in ("iam", "resource", "log")),
        ca=str(config.tls.ca or ""),
        account="admin",
        region=config.region,
        secret_file=str(paths.admin_secret),
    )


def remember(config: Config, paths: RegionPaths, name: str, *, make_current: bool = True) -> Path:
    """Make the region a context of this user's client, the current one unless told not to."""
    path = config_path()
    save_context(path, name, context_of(config, paths), make_current=make_current)
    return path


def children(config: Config) -> list[Child]:
    """Return every process of the region."""
    services = [Child(name=n, run=partial(process.run, n, config)) for n in SERVICES]
    keeper = Child(name="certificates", run=partial(_keep_certificates, config))
    return [*server_children(config), *services, keeper]


def run(config: Config, *, on_ready: Callable[[float], None], extra: tuple[Child, ...] = ()) -> int:
    """Run the region until a signal; ``on_ready`` is called, with seconds, when all serve."""
    warn([config])
    return run_quietly(config, on_ready=on_ready, extra=extra)


def warn(configs: Sequence[Config]) -> None:
    """Say once what is to be known of the etcd that the regions bring along."""
    notices = (embedded_etcd(one).notice() for one in configs if one.etcd.embedded)
    for notice in dict.fromkeys(filter(None, notices)):
        sys.stderr.write(f"{notice}\n")


def run_quietly(
    config: Config, *, on_ready: Callable[[float], None], extra: tuple[Child, ...] = ()
) -> int:
    """Run the region as ``run`` does, without the warning."""
    announcer = Child(
        name="announcer", run=partial(_announce, config, on_ready, time.monotonic()), once=True
    )
    supervisor = Supervisor(
        [*children(config), announcer, *extra],
        config.state_dir,
        preload=PRELOAD,
        before=partial(prepare, config),
    )
    return supervisor.run()


def prepare(config: Config) -> None:
    """Renew what ends before anybody reads it, and raise what keeps the region from starting."""
    _renew(config)
    require_startable(config)


def _keep_certificates(config: Config) -> int:
    """Renew this host's certificates before they end, for as long as the region runs."""
    while True:
        time.sleep(RENEW_EVERY_S)
        _renew(config)


def _renew(config: Config) -> None:
    try:
        for name in Certificates(config.state_dir).keep(config.region, create=False):
            sys.stderr.write(f"renewed the certificate {name}\n")
    except (MulliganError, OSError, ValueError) as error:
        sys.stderr.write(f"certificates are not renewed: {error}\n")
    sys.stderr.flush()


def _announce(config: Config, on_ready: Callable[[float], None], began: float) -> int:
    told: tuple[str, ...] = ()
    while True:
        try:
            anyio.run(all_serving, config, TOLD_AFTER_S)
            break
        except NotServing as error:
            if error.names != told:
                _tell(config, error.names, time.monotonic() - began)
            told = error.names
    on_ready(time.monotonic() - began)
    return 0


def _tell(config: Config, names: Sequence[str], seconds: float) -> None:
    """Say who does not serve, and the last that some of them said."""
    sys.stderr.write(f"after {seconds:.0f} s these do not serve yet: {', '.join(names)}\n")
    for name in names[:_TOLD]:
        sys.stderr.write(f"{last_lines(RegionPaths(state_dir=config.state_dir).log(name), 1)}\n")
    sys.stderr.flush()
