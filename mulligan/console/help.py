"""The keys that count at the moment, on one screen."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from mulligan.console.theme import FAINT, LINK, TEXT

if TYPE_CHECKING:
    from textual.app import App
    from textual.dom import DOMNode

Key = tuple[str, str]
"""Keys as they are written on a keyboard, and what they do."""
COLUMN = 22
"""Columns for the keys of one line."""


class HelpScreen(ModalScreen[None]):
    """What each key does, section by section."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background 60%; }
    HelpScreen #help { width: 72; max-width: 96%; height: auto; max-height: 90%;
        background: $panel; border: round $primary; padding: 0 2; scrollbar-size: 1 1; }
    """
    BINDINGS = [Binding("escape,q,question_mark,enter", "dismiss", "Close")]

    def __init__(self, sections: Sequence[tuple[str, Sequence[Key]]]) -> None:
        super().__init__()
        self._sections = sections

    def compose(self) -> ComposeResult:
        """Lay out the sections."""
        with VerticalScroll(id="help") as box:
            box.border_title = "keys"
            box.border_subtitle = "esc close"
            yield Static(keys_shown(self._sections))


def keys_shown(sections: Iterable[tuple[str, Sequence[Key]]]) -> Text:
    """Return sections of keys, a line each."""
    text = Text()
    for title, keys in sections:
        text.append("\n" if text else "")
        text.append(f"{title.upper()}\n", style=f"bold {FAINT}")
        for key, what in keys:
            text.append(f"{key:<{COLUMN}} ", style=f"bold {LINK}").append(f"{what}\n", style=TEXT)
    return text


def keys_of(app: "App[Any]", nodes: Iterable["DOMNode"]) -> list[Key]:
    """Return what the keys of some parts of the screen do, keys that do the same together.

    These are the console's own keys; what Textual adds to each of its parts is left out.
    """
    found: dict[str, list[str]] = {}
    for binding in (one for node in nodes for one in _own(type(node))):
        if binding.description:
            keys = found.setdefault(binding.description, [])
            keys.append(app.get_key_display(binding))
    return [(" ".join(keys), what) for what, keys in found.items()]


def _own(kind: type) -> Iterator[Binding]:
    for each in kind.__mro__:
        if each.__module__.startswith("mulligan."):
            yield from Binding.make_bindings(each.__dict__.get("BINDINGS", ()))
