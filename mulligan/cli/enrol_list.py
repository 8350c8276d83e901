"""The list of machines to enrol, as CSV or YAML: read whole, every mistake told at once."""

import csv
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import msgspec

from mulligan.errors import FieldViolation, InvalidArgument

MAX_ROWS = 100_000
MOST_TOLD = 100
"""Mistakes of one list that are told."""

COLUMNS = (
    "name",
    "address",
    "credential",
    "system",
    "parent",
    "insecure",
    "fingerprint",
    "pin",
    "profile",
)
NEEDED = ("name", "address", "credential")

_TRUE = {"true", "yes", "1"}
_FALSE = {"", "false", "no", "0"}
_COLONS = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){31}")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A machine to enrol. ``place`` is where it stands: ``file:line``."""

    place: str
    name: str
    address: str
    credential: str
    system: str = ""
    parent: str = ""
    insecure: bool = False
    fingerprint: str = ""
    pin: bool = False
    profile: str = ""

    @property
    def key(self) -> str:
        """What identifies the machine: its BMC and its system there."""
        return bmc_key(self.address, self.system)


class Cells(NamedTuple):
    """One row as it was written, and how to name a place in it."""

    values: Mapping[str, Any]
    place: str
    where: Callable[[str], str]


class Mistakes:
    """What is wrong, to be told all at once."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []
        self._more = 0

    def add(self, where: str, problem: str) -> None:
        """Note a mistake."""
        if len(self._found) < MOST_TOLD:
            self._found.append(FieldViolation(where, problem))
        else:
            self._more += 1

    def tell(self) -> None:
        """Raise InvalidArgument with all mistakes, if there are any."""
        if not self._found:
            return
        if self._more:
            self._found.append(FieldViolation("…", f"and {self._more} more"))
        first, *more = self._found
        raise InvalidArgument(first.field, first.description, *more)


def bmc_key(address: str, system: str) -> str:
    """Return what two ways to write one system of one BMC have in common."""
    from mulligan.handlers.enrolment import plain_address

    return f"{plain_address(address)}#{system}".lower()


def plain_fingerprint(text: str) -> str:
    """Return a SHA-256 fingerprint in lower case and without colons, as openssl writes them."""
    bare = text.strip().removeprefix("sha256:")
    return bare.replace(":", "").lower() if _COLONS.fullmatch(bare) else bare.lower()


def read_rows(source: str) -> list[Row]:
    """Read a list from a file, or from standard input for ``-``.

    Raise InvalidArgument with every mistake in it, each with ``file:line: column``.
    """
    text = _text_of(source)
    shown = "standard input" if source == "-" else source
    mistakes = Mistakes()
    rows: list[Row] = []
    cells = csv_cells(text, shown) if is_csv(source, text) else yaml_cells(text, shown)
    for number, one in enumerate(cells):
        if number == MAX_ROWS:
            raise InvalidArgument(one.place, f"a list has {MAX_ROWS:,} rows at most")
        row = _row(one, mistakes)
        if row is not None:
            rows.append(row)
    _refuse_repeats(rows, mistakes)
    mistakes.tell()
    if not rows:
        raise InvalidArgument(shown, "lists no machines")
    return rows


def is_csv(source: str, text: str) -> bool:
    """Tell CSV from YAML: by the file's name, else by what the first line looks like."""
    suffix = Path(source).suffix.lower()
    if suffix in (".csv", ".yaml", ".yml"):
        return suffix == ".csv"
    first = next((line for line in text.splitlines() if line and not line.startswith("#")), "")
    return first.replace(";", ",").split(",")[0].strip().lower() in COLUMNS


def csv_cells(text: str, source: str) -> Iterator[Cells]:
    """Yield the rows of CSV below its header line; empty lines and those after ``#`` are none."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    header: list[str] = []
    begin = 1
    try:
        for values in lines:
            place, begin = f"{source}:{begin}", lines.line_num + 1
            if not any(value.strip() for value in values) or values[0].lstrip().startswith("#"):
                continue
            if not header:
                header = _header(values, place)
                continue
            if len(values) > len(header):
                problem = f"has {len(values)} cells, and the header {len(header)}"
                raise InvalidArgument(place, problem)
            yield Cells(
                dict(zip(header, (value.strip() for value in values), strict=False)),
                place,
                lambda column, place=place: f"{place}: {column}",  # type: ignore[misc]
            )
    except csv.Error as error:
        raise InvalidArgument(f"{source}:{begin}", f"is not CSV: {error}") from error
    if not header:
        raise InvalidArgument(source, f"has no header line; write {','.join(COLUMNS)}")


def yaml_cells(text: str, source: str) -> Iterator[Cells]:
    """Yield the rows of a YAML list of mappings."""
    from mulligan.cli.yamlfile import read_text

    for document in read_text(text, source, list[dict[str, Any]]):
        for number, values in enumerate(document.value):

            def where(column: str, number: int = number) -> str:
                return document.where(number, column)  # noqa: B023

            place = document.where(number).rpartition(": ")[0]
            yield Cells(values, place, where)


def write_csv(rows: Iterable[Row], file: TextIO) -> None:
    """Write a list that ``read_rows`` takes."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = (getattr(row, column) for column in COLUMNS)
        writer.writerow("true" if v is True else "" if v is False else v for v in values)


def check(row: Row) -> Iterator[tuple[str, str]]:
    """Yield the column and the problem of each value that no service would take."""
    from mulligan.events.machine import Bmc
    from mulligan.handlers.enrolment import check_bmc
    from mulligan.handlers.names import slug_of
    from mulligan.model import CredentialId

    scheme = "http" if row.address.lower().startswith("http://") else "https"
    sound = Bmc(address="https://bmc", credential=CredentialId("c"))
    by_column: tuple[tuple[str, dict[str, object]], ...] = (
        ("address", {"address": row.address}),
        ("system", {"system": row.system}),
        ("fingerprint", {"fingerprint": row.fingerprint}),
        ("pin", {"pin": row.pin, "verify": not row.insecure, "address": f"{scheme}://bmc"}),
    )
    try:
        slug_of(row.name)
    except InvalidArgument as error:
        yield "name", error.violations[0].description
    for column, values in by_column:
        try:
            check_bmc(msgspec.structs.replace(sound, **values))
        except InvalidArgument as error:
            yield column, error.violations[0].description
    if row.pin and row.fingerprint:
        yield "pin", "takes the first certificate; give it or a fingerprint"


def _row(cells: Cells, mistakes: Mistakes) -> Row | None:
    """Return a row; note what is wrong with it, and return None if it is none."""
    values = {column: _text(value) for column, value in cells.values.items() if value is not None}
    wrong = False
    for column in cells.values:
        if column not in COLUMNS:
            mistakes.add(cells.where(column), f"is no column; there are {', '.join(COLUMNS)}")
            wrong = True
    for column in NEEDED:
        if not values.get(column):
            mistakes.add(cells.where(column), "is missing")
            wrong = True
    truths: dict[str, bool] = {}
    for column in ("insecure", "pin"):
        text = values.pop(column, "").lower()
        truths[column] = text in _TRUE
        if text not in _TRUE | _FALSE:
            mistakes.add(cells.where(column), f"{text!r} is neither true nor false")
            wrong = True
    if wrong:
        return None
    values["fingerprint"] = plain_fingerprint(values.get("fingerprint", ""))
    row = msgspec.convert({"place": cells.place, **values, **truths}, Row)
    for column, problem in check(row):
        mistakes.add(cells.where(column), problem)
    return row


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip()


def _refuse_repeats(rows: Sequence[Row], mistakes: Mistakes) -> None:
    """Note names and BMCs that stand in the list twice."""
    names: dict[str, Row] = {}
    keys: dict[str, Row] = {}
    for row in rows:
        for column, known, value in (("name", names, row.name), ("address", keys, row.key)):
            before = known.setdefault(value.lower(), row)
            if before is not row:
                shown = row.name if column == "name" else row.address
                mistakes.add(
                    f"{row.place}: {column}", f"{shown!r} stands at {before.place} already"
                )


def _header(values: Sequence[str], place: str) -> list[str]:
    header = [value.strip().lower() for value in values]
    mistakes = Mistakes()
    for column in header:
        if column not in COLUMNS:
            mistakes.add(
                f"{place}: {column or 'an empty cell'}",
                f"is no column; there are {', '.join(COLUMNS)}",
            )
        elif header.count(column) > 1:
            mistakes.add(f"{place}: {column}", "is given twice")
    for column in NEEDED:
        if column not in header:
            mistakes.add(f"{place}: {column}", "is missing in the header line")
    mistakes.tell()
    return header


def _delimiter(text: str) -> str:
    """Return what stands between cells: some spreadsheets write semicolons."""
    first = next((line for line in text.splitlines() if line and not line.startswith("#")), "")
    return ";" if ";" in first and "," not in first else ","


def _text_of(source: str) -> str:
    if source == "-":
        return sys.stdin.read().removeprefix("\ufeff")
    try:
        return Path(source).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(source, f"cannot be read: {error}") from error
