"""The checks of the crash suite find what they look for, and let what is right pass."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.crash.checking import wrongs
from tests.crash.reading import Event, Logged
from tests.crash.record import Call, Outcome, Record

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PROVIDER = "provider/p"


def logged(seq: int, commit: str, *events: Event, command: str = "claim.exact") -> Logged:
    return Logged(seq, commit, NOW + timedelta(seconds=seq), "rita", command, events)


def stocked(total: int = 4) -> Logged:
    inventories = {"inventories": {"memory": {"total": total}}}
    stock = Event(PROVIDER, 1, "provider.inventories_set", inventories)
    return logged(1, "stock", stock, command="provider.create")


def taken(seq: int, commit: str, version: int, amount: int) -> Logged:
    at = (NOW + timedelta(seconds=seq)).isoformat()
    data: dict[str, Any] = {"amounts": {"memory": amount}, "start": at}
    made = Event(f"claim/{commit}", 1, "claim.made", {"start": at})
    return logged(seq, commit, made, Event(PROVIDER, version, "provider.capacity_taken", data))


def freed(seq: int, commit: str, claim: str, version: int, amount: int) -> Logged:
    at = (NOW + timedelta(seconds=seq)).isoformat()
    data: dict[str, Any] = {"amounts": {"memory": amount}, "start": at}
    gone = Event(f"claim/{claim}", 2, "claim.released", {"at": at})
    return logged(seq, commit, gone, Event(PROVIDER, version, "provider.capacity_freed", data))


def acked(commit: str, seq: int, began: int, ended: int) -> Call:
    return Call(
        id=commit, client="c", what="claim", began=began, ended=ended, outcome=Outcome.ACKED,
        seq=seq, of="p", amount=2,
    )  # fmt: skip


def refused(commit: str, began: int, ended: int, seen: int = 0) -> Call:
    return Call(
        id=commit, client="c", what="claim", began=began, ended=ended, outcome=Outcome.REFUSED,
        seen=seen, said="provider p has 0 memory left in the window, 2 asked", of="p", amount=2,
    )  # fmt: skip


def read(claim: str, said: str, seen: int, began: int, ended: int) -> Call:
    return Call(
        id="", client="c", what="get", began=began, ended=ended, outcome=Outcome.ACKED,
        seen=seen, said=said, about=claim,
    )  # fmt: skip


def unknown(commit: str, began: int, ended: int) -> Call:
    return Call(
        id=commit, client="c", what="claim", began=began, ended=ended, outcome=Outcome.UNKNOWN
    )


LOG = [stocked(), taken(2, "a", 2, 2), taken(3, "b", 3, 2), freed(4, "back", "a", 4, 2)]
CALLS = [
    acked("a", 2, 10, 20),
    acked("b", 3, 15, 30),
    refused("c", 31, 32, seen=3),
    acked("back", 4, 40, 50),
    read("a", "ACTIVE", 2, 33, 34),
    read("a", "ACTIVE", 3, 35, 42),
    read("a", "RELEASED", 3, 35, 42),
    unknown("never", 51, 60),
]


def found(tmp_path: Path, calls: list[Call], log: list[Logged]) -> list[str]:
    with Record(tmp_path / "record") as record:
        for call in calls:
            record.answered(call)
        return wrongs(record, log, frozenset({"claim.exact"}))


def test_a_history_in_order_passes(tmp_path: Path) -> None:
    assert found(tmp_path, CALLS, LOG) == []


def test_an_unknown_outcome_may_be_in_the_log_once(tmp_path: Path) -> None:
    log = [*LOG, taken(5, "never", 5, 2)]
    assert found(tmp_path, CALLS, log) == []


BROKEN: dict[str, tuple[list[Call], list[Logged], str]] = {
    "lost": (CALLS, [*LOG[:2], freed(4, "back", "a", 3, 2)], "is not in the log"),
    "elsewhere": ([*CALLS, acked("b", 2, 15, 30)], LOG, "and is in entry 3"),
    "twice": (CALLS, [*LOG, taken(5, "b", 5, 2)], "is in entries [3, 5]"),
    "refused and done": ([*CALLS, refused("b", 61, 62)], LOG, "was refused"),
    "phantom": (CALLS, [*LOG, taken(5, "ghost", 5, 1)], "was sent by nobody"),
    "out of order": (
        [acked("a", 2, 35, 36), *CALLS[1:]], LOG, "though it was asked after 3 was acknowledged",
    ),
    "overbooked": (CALLS, [*LOG[:3], taken(4, "never", 4, 1)], "5 memory of 4"),
    "refused without need": ([*CALLS, refused("d", 55, 56, seen=4)], LOG, "no more than 2"),
    "read old": ([*CALLS, read("a", "ACTIVE", 4, 51, 52)], LOG, "was read as ACTIVE"),
    "read ahead": ([*CALLS, read("a", "RELEASED", 2, 33, 34)], LOG, "was read as RELEASED"),
    "gap": (CALLS, [*LOG, taken(5, "never", 6, 1)], "has version 6 at 5, not 5"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_named(what: str, tmp_path: Path) -> None:
    calls, log, named = BROKEN[what]
    assert any(named in wrong for wrong in found(tmp_path, calls, log))


def test_the_record_is_there_for_whoever_comes_after(tmp_path: Path) -> None:
    with Record(tmp_path / "record") as record:
        began = record.asked("a", "c", "claim")
        record.answered(acked("a", 2, began, began + 1))
        record.asked("b", "c", "claim")
    lines = (tmp_path / "record").read_text().splitlines()
    assert len(lines) == 3 and '"b"' in lines[2] and "outcome" not in lines[2]
