"""What a list of machines would enrol: what is there already, and what stands in the way."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from mulligan.cli.enrol_list import Mistakes, Row, bmc_key
from mulligan.proto import v1


class Known(NamedTuple):
    """What exists; names and UUIDs alike. None: it was not looked up."""

    machines: Sequence[v1.Machine]
    credentials: Collection[str] | None = None
    profiles: Collection[str] | None = None
    parents: Collection[str] | None = None


class Planned(NamedTuple):
    """A row and the machine that it is already, if it is."""

    row: Row
    machine: v1.Machine | None


def plan(rows: Sequence[Row], known: Known) -> list[Planned]:
    """Return what becomes of each row.

    A row whose BMC is enrolled already is left alone, by whatever name. Raise InvalidArgument with
    every row whose name another BMC's machine has, or whose login, profile or parent is not there.
    """
    mistakes = Mistakes()
    by_bmc = {bmc_key(one.bmc.address, one.bmc.system): one for one in known.machines if one.bmc}
    by_name = {one.name.lower(): one for one in known.machines}
    planned: list[Planned] = []
    for row in rows:
        there = by_bmc.get(row.key)
        planned.append(Planned(row, there))
        if there is None:
            _check(row, by_name, known, mistakes)
    mistakes.tell()
    return planned


def _check(row: Row, by_name: Mapping[str, v1.Machine], known: Known, mistakes: Mistakes) -> None:
    other = by_name.get(row.name.lower())
    if other is not None:
        where = other.bmc.address if other.bmc else "another BMC"
        mistakes.add(f"{row.place}: name", f"{row.name!r} is the machine at {where}")
    for column, kind, there in (
        ("credential", "login", known.credentials),
        ("profile", "hardware profile", known.profiles),
        ("parent", "provider", known.parents),
    ):
        value: str = getattr(row, column)
        if value and there is not None and value not in there:
            mistakes.add(f"{row.place}: {column}", f"there is no {kind} {value!r}")


def request(row: Row) -> v1.EnrollMachineRequest:
    """Return what enrols a row."""
    bmc = v1.Bmc(
        address=row.address.rstrip("/"),
        credential=row.credential,
        system=row.system,
        insecure=row.insecure,
        fingerprint=row.fingerprint,
        pin=row.pin,
    )
    return v1.EnrollMachineRequest(name=row.name, parent=row.parent, bmc=bmc, profile=row.profile)
