"""What a rotation does next, from how far it has come and the time alone."""

from datetime import datetime

import msgspec

from mulligan.handlers.rotation import ASK_SOMEBODY, pause_after
from mulligan.model import MachineId
from mulligan.queries.rotations import LAST, Left, Progress

AT_ONCE = 32
"""Machines of one login whose passwords are changed at once, after the first one went well."""


class Todo(msgspec.Struct, frozen=True, kw_only=True):
    """``prove`` what another machine of the same BMC showed; start at most ``room`` of ``start``.

    ``again`` is when a machine that failed is due; ``held`` says why no machine is started.
    """

    finished: bool = False
    prove: tuple[tuple[MachineId, MachineId], ...] = ()
    start: tuple[MachineId, ...] = ()
    room: int = 0
    again: datetime | None = None
    held: str = ""


def plan(found: Progress, version: str, now: datetime) -> Todo:
    """Return what to do now: one machine first, and the rest when its BMC took the password."""
    if found.proven == found.machines:
        return Todo(finished=True)
    beside = tuple(
        (one.machine, MachineId(one.beside)) for one in found.left if one.beside and not one.verb
    )
    held = why_held(found)
    room = 0 if held else (AT_ONCE if found.proven else 1) - found.running
    taken = {one.bmc for one in found.left if one.verb == "rotate"}
    start, again = [], []
    for one in found.left:
        due = _due(one, version)
        if one.beside or one.bmc in taken or one.verb or one.maintenance or due is None:
            continue
        if due > now:
            again.append(due)
            continue
        taken.add(one.bmc)
        start.append(one.machine)
    return Todo(
        prove=beside,
        start=tuple(start) if room > 0 else (),
        room=max(room, 0),
        again=min(again, default=None),
        held=held,
    )


def why_held(found: Progress) -> str:
    """Say why no further machine is tried: the last ones all refused; empty while all is well."""
    if len(found.last) < LAST or not ASK_SOMEBODY.issuperset(found.last):
        return ""
    return (
        f"the last {LAST} machines refused ({', '.join(dict.fromkeys(found.last))}), so no more"
        " are tried until another password is given or their logins are allowed again"
    )


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _due(one: Left, version: str) -> datetime | None:
    """Return when a machine may be tried; None: not before something changes."""
    if one.tried != version or one.tried_at is None:
        return _EPOCH
    pause = pause_after(one.fault, one.times)
    return None if pause is None else one.tried_at + pause
