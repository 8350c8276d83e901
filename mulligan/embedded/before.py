"""What must be so before a region's processes start; else each would fail, again and again."""

import os
import time

from mulligan.config import Address, Config, ListenConfig
from mulligan.embedded.ports import can_listen
from mulligan.errors import FailedPrecondition
from mulligan.master_key import load_master_keys

PATIENCE_S = 3.0
"""Seconds for the ports of a region that was just killed to become free."""
_POLL_S = 0.1


class PortTaken(FailedPrecondition):
    """Another program listens where a process of the region is to."""


def require_startable(config: Config, patience: float = PATIENCE_S) -> None:
    """Return when the master key is there and every port is free, at once or within ``patience``.

    Raise MasterKeyError, or PortTaken with every port that stays taken and the key that has it.
    """
    load_master_keys(config.secrets.key_file, os.environ, config.secrets.key_command)
    until = time.monotonic() + patience
    while taken := {key: at for key, at in _addresses(config).items() if not can_listen(at)}:
        if time.monotonic() > until:
            shown = ", ".join(f"{at} ({key})" for key, at in taken.items())
            raise PortTaken(
                f"another program listens on {shown}; stop it (`ss -ltnp` names it), or write"
                f" other ports into {config.state_dir / 'config.toml'}"
            )
        time.sleep(_POLL_S)


def _addresses(config: Config) -> dict[str, Address]:
    """Return where the processes are to listen, by the key of the configuration that says so."""
    services = {name: getattr(config.listen, name) for name in ListenConfig.__struct_fields__}
    found = {f"listen.{name}": at for name, at in services.items()}
    if config.metrics.port_offset:
        found |= {
            f"metrics.port_offset of {name}": Address(
                f"{_bracketed(at.host)}:{at.port + config.metrics.port_offset}"
            )
            for name, at in services.items()
        }
    found["media.listen"] = config.media.listen
    if config.etcd.embedded:
        found["etcd.endpoints"] = config.etcd.endpoints[0]
    return found


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
