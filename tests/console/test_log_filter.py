"""The line that filters the log: what it reads, what passes, what it refuses."""

import pytest

from mulligan.console.log.feed import pushed
from mulligan.console.log.filter import parse_filter, passing
from mulligan.console.log.rows import LogRow, LogWindow, summary_of
from mulligan.errors import InvalidArgument
from tests.console.feeds import ANN, NODE, commit, event

NAMES = {ANN: "ann", NODE.format(1): "node-1"}


def row(**data: object) -> LogRow:
    one = event(4, "machine.step_observed", 1, **(data or {"message": "Power off done"}))
    return LogRow(commit(4, one, command="machine.observe", project="red"), one)


@pytest.mark.parametrize(
    "text",
    [
        "", "kind:machine", "type:machine.step_*", "type:claim.made,machine.step_observed",
        "actor:ann", f"actor:{ANN}", "stream:machine/node-1", "stream:node-1", "project:red",
        "-kind:claim", "POWER", '"power off"', "command:machine.* -type:*.started",
        f"trace:{4:032x}", "-absent",
    ],
)  # fmt: skip
def test_a_line_passes_when_all_words_hold(text: str) -> None:
    assert passing(parse_filter(text), NAMES)(row())


@pytest.mark.parametrize(
    "text",
    [
        "kind:claim", "type:machine.step", "actor:bob", "-actor:ann", "power -done",
        '"done power"', "kind:machine kind:claim", "stream:machine/node-2",
    ],
)  # fmt: skip
def test_and_does_not_when_one_does_not(text: str) -> None:
    assert not passing(parse_filter(text), NAMES)(row())


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("colour:red", "quote text with a colon"), ("kind:", "needs a value"),
        ("#abc", "write #1234"), ("#0", "write #1234"), ('"open', "a quote is not closed"),
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused_with_what_to_write(text: str, part: str) -> None:
    with pytest.raises(InvalidArgument, match=part):
        parse_filter(text)


def test_the_service_is_asked_to_filter_by_what_it_can() -> None:
    stream = f"machine/{NODE.format(1)}"
    wanted = pushed(parse_filter(f"kind:machine type:a.b stream:{stream}"))
    assert (wanted.kind, wanted.type, wanted.stream) == ("machine", "a.b", stream)
    loose = pushed(parse_filter("-kind:machine type:a.* stream:machine/node-1"))
    assert (loose.kind, loose.type, loose.stream) == ("", "", "")


def test_what_says_most_comes_first_and_nothing_harms_the_terminal() -> None:
    one = row(attempt=3, machine=NODE.format(1), message="\x1b[2J gone", empty="").event
    text = summary_of(one, NAMES)
    assert text.startswith("message=") and "attempt=3" in text and "empty" not in text
    assert "\x1b" not in text


def test_a_window_is_bounded_at_both_ends() -> None:
    window = LogWindow(room=10)
    window.arrive([commit(n, event(n)) for n in range(100, 130)])
    assert (window.first, window.last, len(window.rows)) == (120, 129, 10)
    window.prepend([commit(n, event(n)) for n in range(115, 120)])
    assert (window.first, window.last, window.held) == (115, 124, True)
    window.arrive([commit(130, event(130))])
    assert (window.last, window.waiting, window.head) == (124, 1, 130)
