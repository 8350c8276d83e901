"""One commit in full: who, what, why, and every event of it."""

from datetime import UTC
from typing import Any

import msgspec
from rich.console import Group
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from mulligan.console.called import Called
from mulligan.console.links import GoToHistory, GoToMoment
from mulligan.console.log.lines import tone_of
from mulligan.console.log.rows import LoggedCommit, LoggedEvent
from mulligan.console.theme import BRIGHT, DIM, FAINT, LINK, TEXT
from mulligan.console.trouble import harmless


class EntryScreen(ModalScreen[None]):
    """A commit; ``asker`` is who posts what is asked of it."""

    DEFAULT_CSS = """
    EntryScreen { align: center middle; background: $background 60%; }
    EntryScreen #entry { width: 90%; max-width: 140; height: auto; max-height: 86%;
        background: $panel; border: round $primary; padding: 0 1; }
    """
    BINDINGS = [
        Binding("escape,enter,q", "dismiss", "Close"),
        Binding("h", "history", "History"),
        Binding("m", "moment", "Show that moment"),
    ]

    def __init__(self, commit: LoggedCommit, called: Called, asker: Widget) -> None:
        super().__init__()
        self.commit = commit
        self._called = called
        self._asker = asker

    def compose(self) -> ComposeResult:
        """Show the commit; its keys below."""
        with VerticalScroll(id="entry") as box:
            box.border_title = f"entry #{self.commit.seq:,}"
            box.border_subtitle = "esc close   h history   m show that moment"
            yield Static(Group(*commit_shown(self.commit, self._called)))

    def action_history(self) -> None:
        """Show the history of the first event's stream."""
        self.dismiss()
        if self.commit.events:
            self._asker.post_message(GoToHistory(self.commit.events[0].stream))

    def action_moment(self) -> None:
        """Show the console as of this entry."""
        self.dismiss()
        self._asker.post_message(GoToMoment(self.commit.seq))


def commit_shown(commit: LoggedCommit, called: Called) -> list[Text]:
    """Return a commit for reading: what is known of it, then its events."""
    facts = (
        ("command", commit.command),
        ("at", f"{commit.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}Z"),
        ("by", _named(commit.account, called)),
        ("project", _named(commit.project, called)),
        ("credential", commit.credential),
        ("request id", commit.commit),
        ("caused by", commit.causation),
        ("correlation", commit.correlation),
        ("trace id", commit.trace),
    )
    shown = [
        Text.assemble((f"{name:>12}  ", FAINT), (harmless(value), TEXT))
        for name, value in facts
        if value
    ]
    for number, event in enumerate(commit.events, start=1):
        shown.append(Text(""))
        shown += event_shown(event, called, f"{number}/{len(commit.events)}")
    return shown


def event_shown(event: LoggedEvent, called: Called, place: str, indent: int = 14) -> list[Text]:
    """Return an event for reading: a head, then a line a field, so many columns in."""
    head = Text.assemble(
        (f"{place:>12}  ", FAINT),
        (event.type, tone_of(event)),
        (f"  {harmless(called.stream(event.stream))}", BRIGHT),
        (f"  v{event.version}, schema {event.schema}", DIM),
    )
    return [
        head,
        *(_field(f"{'':>{indent}}{name}", value, called) for name, value in fields_of(event)),
    ]


def fields_of(event: LoggedEvent) -> list[tuple[str, str]]:
    """Return an event's data as paths and values, in their order."""
    try:
        data = msgspec.json.decode(event.data)
    except msgspec.DecodeError:
        return [("", event.data)]
    return list(_flat("", data))


def _flat(path: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        below = [_flat(f"{path}.{key}" if path else str(key), one) for key, one in value.items()]
        return [pair for pairs in below for pair in pairs]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        below = [_flat(f"{path}[{n}]", one) for n, one in enumerate(value)]
        return [pair for pairs in below for pair in pairs]
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return [(path, text)]


def _field(name: str, value: str, called: Called) -> Text:
    known = called.get(value)
    return Text.assemble(
        (name, LINK),
        ("  ", ""),
        (harmless(value), TEXT),
        (f"  ({harmless(known)})" if known else "", DIM),
    )


def _named(uuid: str, called: Called) -> str:
    name = called.get(uuid)
    return f"{name}  {uuid}" if name else uuid
