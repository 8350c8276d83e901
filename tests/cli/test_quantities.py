from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.errors import InvalidArgument
from mulligan.quantities import (
    format_amount,
    format_span,
    parse_amount,
    parse_pairs,
    parse_span,
    parse_time,
)

NOW = datetime(2027, 1, 31, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("4", 4),
        (7, 7),
        ("64GiB", 64 * 2**30),
        ("64Gi", 64 * 2**30),
        ("1.5GiB", 3 * 2**29),
        ("10Gbit/s", 10**10),
        ("10Gbps", 10**10),
        ("2k", 2000),
        ("2 TB", 2 * 10**12),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_amounts_are_read_in_base_units(text: str | int, amount: int) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "4GiX", "1e3", "8EiB", "64 Gi B", "٣"])
def test_anything_else_is_no_amount(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_amount(text)


@given(st.integers(0, 2**63 - 1), st.sampled_from(["memory", "cpu.shared", "network.bandwidth"]))
def test_an_amount_survives_being_written_and_read(amount: int, resource_class: str) -> None:
    assert parse_amount(format_amount(resource_class, amount)) == amount


def test_an_amount_is_written_in_the_unit_of_its_class() -> None:
    assert format_amount("memory", 64 * 2**30) == "64GiB"
    assert format_amount("network.bandwidth", 10**10) == "10Gbit/s"
    assert format_amount("machine", 1024) == "1024"
    assert format_amount("storage.block", 10 * 10**12) == "10TB"
    assert format_amount("storage.block", 512) == "512"


def test_pairs_name_the_class_that_is_wrong() -> None:
    assert parse_pairs(["machine=1", "memory=1KiB"], "--class") == {"machine": 1, "memory": 1024}
    with pytest.raises(InvalidArgument, match="--class memory"):
        parse_pairs(["memory=lots"], "--class")
    with pytest.raises(InvalidArgument, match="given twice"):
        parse_pairs(["machine=1", "machine=2"], "--class")


def test_spans_add_up() -> None:
    assert parse_span("1d12h") == timedelta(days=1, hours=12)
    assert parse_span("90m") == timedelta(minutes=90)


@pytest.mark.parametrize("text", ["", "4", "h", "4 h", "-4h", "0s", "4y", "9999999999w"])
def test_anything_else_is_no_span(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_span(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("+2h", NOW + timedelta(hours=2)),
        ("-2h", NOW - timedelta(hours=2)),
        ("2027-02-01", datetime(2027, 2, 1, tzinfo=UTC)),
        ("2027-02-01T10:00Z", datetime(2027, 2, 1, 10, tzinfo=UTC)),
        ("2027-02-01T10:00+02:00", datetime(2027, 2, 1, 8, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_utc_unless_they_say_otherwise(text: str, moment: datetime) -> None:
    assert parse_time(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "tomorrow", "+", "-", "-2", "2027-13-01"])
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_time(text, NOW)


def test_spans_are_written_short() -> None:
    assert [format_span(s) for s in (0.25, 3, 720, 15000, 266400)] == [
        "0.2s",
        "3s",
        "12m",
        "4h10m",
        "3d2h",
    ]
