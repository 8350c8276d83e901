"""What deciding a log again found: which decisions would differ, and how."""

from typing import Literal

import msgspec

from mulligan.model import CommitId, Seq, StreamId
from mulligan.queries.differences import FieldChange

Kind = Literal["events", "nothing", "refused", "crashed", "unknown", "arguments"]


class EventDifference(msgspec.Struct, frozen=True, kw_only=True):
    """How one event differs: its fields, or that only one side has it.

    ``stream``, ``type`` and ``version`` are those of the recorded event, of the decided one where
    none was recorded.
    """

    stream: StreamId
    version: int
    type: str
    what: str
    fields: tuple[FieldChange, ...] = ()


class Differing(msgspec.Struct, frozen=True, kw_only=True):
    """A commit that this version would not have made.

    ``kind``: other ``events``; ``nothing`` to change; ``refused`` with an error; ``crashed``, which
    is a defect; a command that is ``unknown``; ``arguments`` that do not make one any more.
    """

    entry: Seq
    commit: CommitId
    command: str
    kind: Kind
    detail: str = ""
    events: tuple[EventDifference, ...] = ()


class Unfolded(msgspec.Struct, frozen=True, kw_only=True):
    """An event that this version cannot read or fold; ``stream`` is not known from there on."""

    entry: Seq
    commit: CommitId
    stream: StreamId
    detail: str


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How the commits of one command fared.

    ``same`` include the ``rewritten``: those whose events say the same in another form, such as
    with a field that is new and has its default. Not decided again were commits ``without`` their
    arguments, from a release that did not keep them, and those that ``rest`` on an event that could
    not be folded.
    """

    command: str
    commits: int
    same: int
    rewritten: int
    differ: int
    without: int
    rest: int


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; ``differing`` and ``unfolded`` are the first of each."""

    entries: int
    commits: int
    objects: int
    same: int
    rewritten: int
    differ: int
    without: int
    rest: int
    cannot_fold: int
    commands: tuple[Tally, ...]
    differing: tuple[Differing, ...]
    unfolded: tuple[Unfolded, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was found that this version would have decided otherwise."""
        return not self.differ and not self.cannot_fold
