"""Server-sent events, as BMCs write them and as they should not."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.redfish.sse import LONGEST_EVENT, EventParser, ServerSentEvent

LENOVO = b""": stream keep-alive
id:2
data:{
data:    "Events@odata.count": 1,
data:    "Events": []
data:}

"""


def data_of(events: list[ServerSentEvent]) -> list[bytes]:
    return [event.data for event in events]


def test_an_event_ends_at_an_empty_line() -> None:
    parser = EventParser()
    assert parser.feed(b'id: 7\ndata: {"a": 1}\n') == []
    assert parser.feed(b"\n") == [ServerSentEvent(b'{"a": 1}', "7")]
    assert parser.last_id == "7"


def test_a_body_of_many_lines_with_comments_between_is_one_event() -> None:
    (event,) = EventParser().feed(LENOVO)
    assert event.id == "2"
    assert event.data == b'{\n   "Events@odata.count": 1,\n   "Events": []\n}'


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_in_any_of_three_ways(end: bytes) -> None:
    stream = end.join([b"data: one", b"", b"data: two", b"data: three", b"", b""])
    assert data_of(EventParser().feed(stream)) == [b"one", b"two\nthree"]


@given(
    st.lists(st.integers(0, 80), max_size=8),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_however_a_stream_is_cut_its_events_are_the_same(cuts: list[int], end: bytes) -> None:
    stream = b"\xef\xbb\xbf" + end.join(
        [b"id: 1", b"data: first", b"", b":", b"data", b"", b"event: x", b"data: a:b", b"", b""]
    )
    parser = EventParser()
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    events: list[ServerSentEvent] = []
    for start, stop in pairwise(edges):
        events += parser.feed(stream[start:stop])
    assert data_of(events) == [b"first", b"", b"a:b"]


def test_keep_alives_and_fields_without_data_are_no_events() -> None:
    assert EventParser().feed(b":\n\nevent: heartbeat\n\nretry: 1500\n\nid: 9\n\n") == []


def test_a_server_may_ask_for_a_pause_in_milliseconds_and_nothing_else() -> None:
    parser = EventParser()
    parser.feed(b"retry: 1500\n\n")
    assert parser.retry == 1.5
    parser.feed(b"retry: -1\nretry: soon\n\n")
    assert parser.retry == 1.5


def test_an_endless_line_and_an_endless_event_are_passed_over() -> None:
    parser = EventParser()
    for _ in range(3):
        assert parser.feed(b"data: " + b"x" * LONGEST_EVENT) == []
    assert data_of(parser.feed(b"\n\ndata: well\n\n")) == [b"well"]
    for _ in range(200):
        assert parser.feed(b"data: " + b"y" * 5000 + b"\n") == []
    assert data_of(parser.feed(b"\ndata: again\n\n")) == [b"again"]
    assert parser.too_long == 2


def test_an_id_that_could_not_stand_in_a_header_is_not_resumed_after() -> None:
    parser = EventParser()
    for bad in (b"a\x00b", b"\xff\xfe", b"x" * 300, b"caf\xc3\xa9"):
        parser.feed(b"id: ok\nid: " + bad + b"\n\n")
        assert parser.last_id == ""
