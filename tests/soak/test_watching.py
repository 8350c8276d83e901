"""Whether the judgement of a soak would notice what it is for."""

import os

from .watching import MEGABYTE, Sample, Use, growing, quarters, table, use_of


def samples(memory: list[float], files: list[int]) -> list[Sample]:
    return [
        Sample(at, {"log": Use(m * MEGABYTE, f)}, 1e6, 0.1, 1)
        for at, (m, f) in enumerate(zip(memory, files, strict=True))
    ]


def test_what_fills_up_at_first_and_then_stays_is_flat() -> None:
    assert not list(growing(samples([60, 90, 120, 120, 121, 119, 120, 122], [40] * 8)))


def test_memory_that_grows_and_grows_is_told_of() -> None:
    memory = [100.0 + 20 * n for n in range(8)]
    assert list(growing(samples(memory, [40] * 8))) == ["log: memory 190 MB, then 230 MB"]


def test_files_that_stay_open_are_told_of() -> None:
    files = [40 + 10 * n for n in range(8)]
    assert list(growing(samples([100.0] * 8, files))) == ["log: 85 open files, then 105"]


def test_quarters_are_all_there_is_in_its_order() -> None:
    some = samples([1.0] * 9, [1] * 9)
    assert [one for part in quarters(some) for one in part] == some
    assert "quarter 4" in table(some)


def test_what_this_process_uses_can_be_told() -> None:
    used = use_of(os.getpid())
    assert used.memory > 10 * MEGABYTE
    assert used.files > 2
