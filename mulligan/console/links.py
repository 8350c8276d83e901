"""What a view asks of the console: to go elsewhere, to act, to show another moment."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from mulligan.console.actions.offered import Action


class GoToEntry(Message):
    """Show an entry of the log."""

    def __init__(self, seq: int) -> None:
        super().__init__()
        self.seq = seq


class GoToHistory(Message):
    """Show what happened to a stream, such as ``machine/<uuid>``."""

    def __init__(self, stream: str) -> None:
        super().__init__()
        self.stream = stream


class GoToWhy(Message):
    """Show why a machine or claim is as it is; the stream names it."""

    def __init__(self, stream: str) -> None:
        super().__init__()
        self.stream = stream


class GoToMoment(Message):
    """Show the whole console as of an entry."""

    def __init__(self, seq: int) -> None:
        super().__init__()
        self.seq = seq


class Act(Message):
    """Confirm an action with the operator, and carry it out."""

    def __init__(self, action: "Action") -> None:
        super().__init__()
        self.action = action


class ChooseAction(Message):
    """Offer what may be done with an object."""

    def __init__(self, title: str, actions: "Sequence[Action]") -> None:
        super().__init__()
        self.title = title
        self.actions = actions
