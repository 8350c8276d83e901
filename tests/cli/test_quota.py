from datetime import timedelta

import pytest

from mulligan.cli.quota import parse_limits, parse_quotas
from mulligan.errors import InvalidArgument
from mulligan.proto import v1


def test_a_limit_of_none_takes_the_limit_away() -> None:
    assert parse_limits(["memory=1TiB", "gpu=none", "machine=0"], "limits") == {
        "memory": 2**40,
        "gpu": None,
        "machine": 0,
    }


def test_supposed_quotas_have_limits_and_a_longest_lease() -> None:
    assert parse_quotas(["physics:machine=4,memory=1TiB,max_lease=30d", "x:gpu=1"], "--quota") == [
        v1.Quota(
            project="physics",
            limits={"machine": 4, "memory": 2**40},
            max_lease=timedelta(days=30),
        ),
        v1.Quota(project="x", limits={"gpu": 1}),
    ]


@pytest.mark.parametrize(
    "texts", [["physics"], [":gpu=1"], ["p:"], ["p:gpu"], ["p:gpu=1", "p:cpu=2"], ["p:max_lease=x"]]
)
def test_anything_else_is_no_quota(texts: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        parse_quotas(texts, "--quota")
