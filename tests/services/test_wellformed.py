"""What comes over the wire is sound before a service sees it, or its sender is told what is not."""

from datetime import UTC, datetime

import pytest

from mulligan.errors import InvalidArgument
from mulligan.proto import v1
from mulligan.services.gate.wellformed import MAX_ELEMENTS, UNREADABLE, parsed


def fields(data: bytes, message_type: type) -> list[str]:
    """Return the fields that a message is refused for."""
    with pytest.raises(InvalidArgument) as raised:
        parsed(data, message_type)
    return [violation.field for violation in raised.value.violations]


def test_a_sound_message_is_read_as_it_was_written() -> None:
    window = v1.Span(start=datetime(2030, 1, 1, tzinfo=UTC))
    sent = v1.ResourceRequest(groups=[v1.RequestGroup(resources={"cpu": 2})], window=window)
    assert parsed(bytes(sent), v1.ResourceRequest) == sent


@pytest.mark.parametrize(
    "data",
    [b"\x0a", b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x0b", b"\xff" * 11, b"\x08\x80"],
    ids=["no length", "cut short", "not UTF-8", "an open group", "a long number", "half a number"],
)
def test_bytes_that_are_no_message_say_so(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match=UNREADABLE):
        parsed(data, v1.LoginRequest)


def test_a_field_of_the_wrong_sort_or_of_none_is_as_if_it_were_not_there() -> None:
    assert parsed(b"\x08\x05" + b"\x9a\x7f\x02hi", v1.LoginRequest) == v1.LoginRequest()


def test_text_with_a_nul_names_its_field() -> None:
    assert fields(bytes(v1.LoginRequest(secret="a\0b")), v1.LoginRequest) == ["secret"]
    several = v1.ResolveRequest(kind="claim", names=["a", "\0", "b\0"])
    assert fields(bytes(several), v1.ResolveRequest) == ["names[1]", "names[2]"]
    keyed = v1.RequestGroup(resources={"c\0": 1})
    nested = v1.ResourceRequest(groups=[keyed])
    assert fields(bytes(nested), v1.ResourceRequest) == ["groups[0].resources[c\0]"]


def test_a_field_of_a_dry_runs_command_is_named_as_in_the_command() -> None:
    tried = v1.DryRunResourceRequest(make_claim=v1.MakeClaimRequest(name="a\0"))
    assert fields(bytes(tried), v1.DryRunResourceRequest) == ["name"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_are_finite(value: float) -> None:
    assert fields(bytes(v1.ConfigureRequest(rate=value)), v1.ConfigureRequest) == ["rate"]


def test_numbers_fit_where_they_are_kept() -> None:
    assert fields(bytes(v1.ReadLogRequest(first=2**63)), v1.ReadLogRequest) == ["first"]
    assert parsed(bytes(v1.ReadLogRequest(first=2**63 - 1)), v1.ReadLogRequest).first == 2**63 - 1


@pytest.mark.parametrize(
    "seconds",
    [b"\x08" + b"\xff" * 9 + b"\x01", b"\x08\x80\x90\xe5\xc6\xbf\x3a", b"\x10\xff\xff\xff\xff\x0f"],
)
def test_times_leave_room_to_reckon(seconds: bytes) -> None:
    data = b"\x0a" + bytes([len(seconds)]) + seconds
    assert fields(data, v1.Window) == ["start"]


def test_more_values_than_anybody_means_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=str(MAX_ELEMENTS)):
        parsed(b"\x12\x00" * (MAX_ELEMENTS + 1), v1.ResolveRequest)
