"""Asking before an action is carried out, and offering what may be done."""

from collections.abc import Sequence

import msgspec
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from mulligan.console.actions.offered import Action
from mulligan.console.theme import BAD, BRIGHT, DIM, FAINT, LINK, TEXT, WARN
from mulligan.console.trouble import harmless

MAX_REASON = 500
"""Characters of a reason that the services take."""


class ConfirmScreen(ModalScreen[Action | None]):
    """Whether an action is meant: names the object, and what will happen to it.

    The answer is the action, with its reason where one is asked for; None if it is not meant.
    """

    DEFAULT_CSS = """
    ConfirmScreen { align: center middle; background: $background 60%; }
    ConfirmScreen #confirm { width: 72; height: auto; background: $panel; padding: 1 2;
        border: round $primary; }
    ConfirmScreen.disruptive #confirm { border: round $error; }
    ConfirmScreen #reason { margin-top: 1; border: none; height: 1; padding: 0 1; }
    ConfirmScreen #answers { height: 3; align-horizontal: right; margin-top: 1; }
    ConfirmScreen Button { margin-left: 2; min-width: 14; }
    """
    BINDINGS = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
        Binding("left,right", "turn", show=False),
    ]

    def __init__(self, action: Action) -> None:
        super().__init__(classes="disruptive" if action.disruptive else "")
        self.asked = action

    def compose(self) -> ComposeResult:
        """Show what is asked, and two answers; a disruptive one is not a mere Enter away."""
        action = self.asked
        tone = BAD if action.disruptive else LINK
        with Vertical(id="confirm"):
            yield Static(Text(harmless(action.title), style=f"bold {tone}"))
            yield Static(Text(f"{action.kind} {action.uuid}", style=FAINT))
            yield Static(Text(f"\n{harmless(action.consequence)}", style=TEXT))
            if action.wants_reason:
                yield Input(
                    placeholder=f"{action.wants_reason}, for the record",
                    id="reason",
                    compact=True,
                    max_length=MAX_REASON,
                )
            yield Static(Text(f"\nrequest {action.request_id}", style=FAINT))
            with Horizontal(id="answers"):
                yield Button("No (n)", id="no")
                variant = "error" if action.disruptive else "primary"
                yield Button("Do it (y)", id="yes", variant=variant)  # type: ignore[arg-type]

    def on_mount(self) -> None:
        """Put the focus on the reason, or on the answer that does no harm."""
        if self.asked.wants_reason:
            self.query_one("#reason", Input).focus()
        else:
            self._offer()

    def _offer(self) -> None:
        self.query_one("#no" if self.asked.disruptive else "#yes", Button).focus()

    @on(Input.Submitted)
    def _said(self) -> None:
        """Go on to the answers once a reason is given."""
        if self.query_one("#reason", Input).value.strip():
            self._offer()

    @on(Button.Pressed)
    def _pressed(self, message: Button.Pressed) -> None:
        self.action_answer(message.button.id == "yes")

    def action_answer(self, meant: bool) -> None:
        """Answer; without the reason that is wanted, ask for that instead."""
        if not meant:
            self.dismiss(None)
            return
        given = self.query("#reason")
        reason = given.first(Input).value.strip() if given else ""
        if given and not reason:
            given.first(Input).focus()
            return
        self.dismiss(msgspec.structs.replace(self.asked, reason=reason))

    def action_turn(self) -> None:
        """Go to the other answer."""
        self.focus_next()


class ActionMenu(ModalScreen[Action | None]):
    """What may be done with an object; the answer is what was chosen."""

    DEFAULT_CSS = """
    ActionMenu { align: center middle; background: $background 60%; }
    ActionMenu #menu { width: 60; height: auto; max-height: 80%; background: $panel;
        border: round $primary; padding: 0 1; }
    ActionMenu OptionList, ActionMenu OptionList:focus { height: auto; border: none;
        background: $panel; background-tint: transparent; }
    ActionMenu OptionList > .option-list--option-highlighted { background: #24405e; }
    ActionMenu OptionList:focus > .option-list--option-highlighted { background: #24405e; }
    """
    BINDINGS = [Binding("escape,q", "dismiss", "Close")]

    def __init__(self, title: str, actions: Sequence[Action]) -> None:
        super().__init__()
        self._heading = title
        self._actions = {action.key: action for action in actions}

    def compose(self) -> ComposeResult:
        """Show each action with its key."""
        with Vertical(id="menu") as box:
            box.border_title = harmless(self._heading)
            if not self._actions:
                yield Static(Text("nothing can be done with it as it is", style=DIM))
            yield OptionList(
                *(Option(_line(one), id=key) for key, one in self._actions.items()), compact=True
            )

    def on_key(self, event: object) -> None:
        """Choose by key."""
        action = self._actions.get(getattr(event, "key", ""))
        if action is not None:
            self.dismiss(action)

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(self._actions[message.option_id or ""])


def _line(action: Action) -> Text:
    tone = WARN if action.disruptive else BRIGHT
    return Text.assemble((f" {action.key} ", f"bold {LINK}"), (harmless(action.title), tone))
