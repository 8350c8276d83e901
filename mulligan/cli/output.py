"""What commands print: tables for people; JSON, YAML and names for programs."""

import base64
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, TextIO

from mulligan.wording import harmless


class Format(StrEnum):
    """The forms that ``-o`` chooses from."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class Column(NamedTuple):
    """One column of a table, or one line of an object's description."""

    title: str
    value: Callable[[Any], str]
    wide: bool = False


class Screen(NamedTuple):
    """A terminal that is printed on: its width in characters, and whether colours are wanted."""

    width: int
    colours: bool


def screen_of(out: TextIO) -> Screen | None:
    """Return the terminal behind a file, or None if it is none."""
    try:
        if not out.isatty():
            return None
    except ValueError:  # it is closed
        return None
    colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Screen(shutil.get_terminal_size().columns, colours)


class Output:
    """Where and how a command prints. Data goes to ``out``, notes to ``err``.

    Keys of JSON and YAML are the field names of the ``.proto`` files, always all of them; enums
    are in lower case without their prefix, times in ISO 8601, spans in seconds (``3600s``), and
    64-bit integers are numbers.
    """

    def __init__(
        self,
        form: Format = Format.TABLE,
        *,
        quiet: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
        screen: Screen | None = None,
    ) -> None:
        self.form = form
        self.quiet = quiet
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.screen = screen or screen_of(self.out)

    @property
    def for_people(self) -> bool:
        """Tell whether tables are printed rather than data."""
        return self.form in (Format.TABLE, Format.WIDE)

    def rows(self, items: Sequence[Any], columns: Sequence[Column], empty: str = "") -> None:
        """Print a list; ``empty`` is noted when it is empty and people read it."""
        match self.form:
            case Format.JSON:
                self.line(_json([plain(item) for item in items]))
            case Format.YAML:
                self.line(_yaml([plain(item) for item in items]))
            case Format.NAME:
                for item in items:
                    self.line(name_of(item) or first_of(item, columns))
            case _ if not items:
                self.note(empty or "none")
            case _:
                self.table(items, columns)

    def one(self, item: Any, columns: Sequence[Column]) -> None:
        """Print one object, every column of it."""
        match self.form:
            case Format.JSON:
                self.line(_json(plain(item)))
            case Format.YAML:
                self.line(_yaml(plain(item)))
            case Format.NAME:
                if name := name_of(item) or first_of(item, columns):
                    self.line(name)
            case _:
                pairs = [(column.title.lower(), column.value(item)) for column in columns]
                width = max((len(title) for title, _ in pairs), default=0)
                for title, value in pairs:
                    first, *more = value.splitlines() or [""]
                    if first:
                        self.line(f"{title:<{width}}  {first}")
                    for line in more:
                        self.line(f"{'':<{width}}  {line}")

    def made(self, item: Any, columns: Sequence[Column]) -> None:
        """Print an object that was just created: with ``-q`` its UUID and nothing else."""
        if self.quiet:
            self.line(item.uuid)
        else:
            self.one(item, columns)

    def record(self, item: Any, text: str) -> None:
        """Print one item of an endless list: a line of JSON, a YAML document, or ``text``."""
        match self.form:
            case Format.JSON:
                self.line(json.dumps(plain(item), ensure_ascii=False))
            case Format.YAML:
                self.line("---\n" + _yaml(plain(item)))
            case Format.NAME if name := name_of(item):
                self.line(name)
            case _:
                self.line(text)
        self.out.flush()

    def line(self, text: str) -> None:
        """Print one line of data; what would steer a terminal is not passed on to people."""
        print(harmless(text) if self.for_people else text, file=self.out)

    def tell(self, text: str) -> None:
        """Print what a person asked for; beside data for programs it is only a note."""
        if self.for_people:
            self.line(text)
        else:
            self.note(text)

    def note(self, text: str) -> None:
        """Tell a person something that is not data; ``-q`` silences it."""
        if not self.quiet:
            print(harmless(text), file=self.err, flush=True)

    def shows(self, column: Column) -> bool:
        """Tell whether a table has a column."""
        return not column.wide or self.form is Format.WIDE

    def table(self, items: Sequence[Any], columns: Sequence[Column], titles: bool = True) -> None:
        """Print rows under titles; on a terminal, fitted into it."""
        shown = [column for column in columns if self.shows(column)]
        cells = [[column.value(item) for column in shown] for item in items]
        if self.screen is not None:
            from mulligan.cli.screen import lines_of

            heads = [column.title for column in shown] if titles else None
            fitted = self.screen if self.form is Format.TABLE else None
            for line in lines_of(heads, cells, [c.title for c in shown], self.screen, fitted):
                print(line, file=self.out)
            return
        lines = [[c.replace("\n", " ") or "-" for c in row] for row in cells]
        if titles:
            lines.insert(0, [column.title for column in shown])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = "  ".join(f"%-{width}s" for width in widths)
        rows = ((padded % tuple(row)).rstrip() for row in lines)
        self.out.write("".join(f"{harmless(row)}\n" for row in rows))


def plain(value: Any) -> Any:
    """Return a message or a dataclass as the dicts, lists, strings and numbers that are printed."""
    import betterproto2

    if isinstance(value, betterproto2.Message):
        value = value.to_dict(
            output_format=betterproto2.OutputFormat.PYTHON,
            casing=betterproto2.Casing.SNAKE,
            include_default_values=True,
        )
    elif dataclasses.is_dataclass(value):
        value = {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case IntEnum():
            return value.name.lower() if value.name else int(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return value


def name_of(item: Any) -> str:
    """Return what a person calls an object: its name, or its UUID when it has none."""
    if isinstance(item, str):
        return item
    for field in ("name", "uuid", "id", "instance", "commit", "summary", "account"):
        found = getattr(item, field, "")
        if found:
            return str(found)
    return ""


def first_of(item: Any, columns: Sequence[Column]) -> str:
    """Return what stands first in the row of an object that is called nothing."""
    return columns[0].value(item) if columns else ""


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _yaml(value: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return text.rstrip("\n")
