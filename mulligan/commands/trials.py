"""What a dry run comes to: everything up to the append, and not the append.

A trial ends by ``TriedOut``, raised where a command would append, was done before, or has nothing
to change. So nothing that a method does after its command is done in a dry run.
"""

from collections.abc import Mapping

import msgspec

from mulligan.commands.states import Known
from mulligan.events.envelope import Commit
from mulligan.model import Position, StreamId


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What would be appended, none if there is nothing to change, decided at ``position``.

    ``states`` are those of what it would change, after it. Of a request that was done before,
    ``repeat``, it is what was appended then, as far as that is at hand, and where that stands.
    """

    position: Position
    commits: tuple[Commit, ...] = ()
    states: Mapping[StreamId, Known] = {}
    repeat: bool = False


class TriedOut(BaseException):
    """The end of a dry run that was not refused. No error: nothing on the way is to handle it."""

    def __init__(self, tried: Tried) -> None:
        super().__init__("a dry run has come to its end")
        self.tried = tried
