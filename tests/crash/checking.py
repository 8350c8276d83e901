"""What a record of calls and the log may never say: each check returns what is wrong, in words.

A check is pure. An empty list means that the promise was kept.
"""

import bisect
from collections.abc import Iterator, Sequence

from tests.crash.model import Model, by_id
from tests.crash.reading import Logged
from tests.crash.record import Call, Outcome, Record

HOT_CLASS = "memory"
NO_ROOM = "left in the window"


def wrongs(
    record: Record, commits: Sequence[Logged], own: frozenset[str] = frozenset()
) -> list[str]:
    """Return all that is wrong; commits of the commands ``own`` must all be in the record."""
    calls, model = list(record.commands()), Model.of(commits)
    return [
        *acknowledged_are_there_once(calls, commits),
        *refused_left_nothing(calls, commits),
        *nobody_else_wrote(calls, commits, own),
        *in_real_time_order(calls, commits),
        *never_overbooked(model),
        *refusals_were_due(calls, model),
        *reads_were_fresh(list(record.reads()), calls, model),
        *model.gaps,
    ]


def acknowledged_are_there_once(calls: Sequence[Call], commits: Sequence[Logged]) -> Iterator[str]:
    """An acknowledged command is in the log once, at the position that it was told or before.

    Before, where the answer shows an object as it was a moment later, or to a repeat.
    """
    logged = by_id(commits)
    for commit_id, found in logged.items():
        if len(found) > 1:
            yield f"commit {commit_id} is in entries {[one.seq for one in found]}"
    for call in calls:
        if call.outcome is not Outcome.ACKED:
            continue
        if call.id not in logged:
            yield f"{call.what} {call.id} was acknowledged at {call.seq} and is not in the log"
        elif logged[call.id][0].seq > call.seq:
            yield (
                f"{call.what} {call.id} was acknowledged at {call.seq} and is in entry"
                f" {logged[call.id][0].seq}"
            )


def refused_left_nothing(calls: Sequence[Call], commits: Sequence[Logged]) -> Iterator[str]:
    """A refused command, and no answer of it else, is not in the log."""
    logged = by_id(commits)
    for call in calls:
        if call.outcome is Outcome.REFUSED and call.id in logged:
            yield (
                f"{call.what} {call.id} was refused ({call.said}) and is in entry"
                f" {logged[call.id][0].seq}"
            )


def nobody_else_wrote(
    calls: Sequence[Call], commits: Sequence[Logged], own: frozenset[str]
) -> Iterator[str]:
    """A command that only the load sends is in the log because the load sent it."""
    sent = {call.id for call in calls}
    for commit in commits:
        if commit.command in own and commit.id not in sent:
            yield f"{commit.command} {commit.id} in entry {commit.seq} was sent by nobody"


def in_real_time_order(calls: Sequence[Call], commits: Sequence[Logged]) -> Iterator[str]:
    """What was asked after an acknowledgement is in a later entry than what was acknowledged."""
    acked = sorted((c for c in calls if c.outcome is Outcome.ACKED), key=lambda call: call.ended)
    logged = by_id(commits)
    highest, before = 0, 0
    began: dict[str, Call] = {}
    for call in calls:
        if call.id not in began or call.began < began[call.id].began:
            began[call.id] = call
    for call in sorted(began.values(), key=lambda call: call.began):
        while before < len(acked) and acked[before].ended < call.began:
            highest = max(highest, acked[before].seq)
            before += 1
        if call.id in logged and logged[call.id][0].seq <= highest:
            yield (
                f"{call.what} {call.id} is in entry {logged[call.id][0].seq} though it was asked"
                f" after {highest} was acknowledged"
            )


def never_overbooked(model: Model) -> Iterator[str]:
    """No provider is ever promised away beyond its total, at any instant to come."""
    for (provider, name), peak in model.overbooked.items():
        yield f"provider {provider}: {peak} {name} of {model.totals[provider, name]} were promised"


def refusals_were_due(calls: Sequence[Call], model: Model) -> Iterator[str]:
    """No claim was refused for room that was there from before its call until after it."""
    later = _Later(calls)
    for call in calls:
        if call.outcome is not Outcome.REFUSED or not call.of or NO_ROOM not in call.said:
            continue
        key = call.of, HOT_CLASS
        peaks = model.peaks_between(key, call.seen, later.bound(call.ended, model.seq))
        if max(peaks) + call.amount <= model.totals[key]:
            yield (
                f"{call.what} {call.id} wanted {call.amount} and was refused ({call.said}) though"
                f" no more than {max(peaks)} were used"
            )


def reads_were_fresh(reads: Sequence[Call], calls: Sequence[Call], model: Model) -> Iterator[str]:
    """A claim that was read was so since its reader's last position, and not in the future."""
    later = _Later(calls)
    for read in reads:
        last = later.bound(read.ended, model.seq)
        possible = model.states_between(read.about, read.seen, last)
        if read.said not in possible:
            yield (
                f"claim {read.about} was read as {read.said} by one who had seen {read.seen}; from"
                f" there to {last} it was {sorted(possible)}"
            )


class _Later:
    """Tells how far the log can have been at a moment: short of what was asked after it."""

    def __init__(self, calls: Sequence[Call]) -> None:
        acked = sorted(
            (c for c in calls if c.outcome is Outcome.ACKED), key=lambda call: call.began
        )
        self._began = [call.began for call in acked]
        self._lowest = [call.seq for call in acked]
        for index in range(len(acked) - 2, -1, -1):
            self._lowest[index] = min(self._lowest[index], self._lowest[index + 1])

    def bound(self, moment: int, head: int) -> int:
        """Return the highest entry that may have been there at the moment."""
        index = bisect.bisect_right(self._began, moment)
        return self._lowest[index] - 1 if index < len(self._lowest) else head
