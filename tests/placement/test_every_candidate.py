"""On tiny fleets the solver finds exactly what trying every combination finds."""

import os
from itertools import pairwise

import pytest

from mulligan.placement.solver import Candidate, solve
from tests.placement.brute import Brute, Key
from tests.placement.random_fleets import Draw

CASES = int(os.environ.get("MULLIGAN_CASES", "1500"))
BATCH = 50
EVERY = 1_000_000


def key(candidate: Candidate) -> Key:
    taken = frozenset(
        (provider, class_, amount)
        for provider, amounts in candidate.totals.items()
        for class_, amount in amounts.items()
    )
    return taken, tuple(candidate.groups.items())


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_the_candidates_are_those_that_brute_force_finds(first: int) -> None:
    for seed in range(first, min(first + BATCH, CASES)):
        draw = Draw(seed)
        arguments = (draw.request, draw.space, draw.start, draw.end)
        expected = Brute(*arguments, draw.rejected).solutions()
        found = solve(*arguments, rejected=draw.rejected, limit=EVERY, budget=10_000_000)
        keys = [key(candidate) for candidate in found.candidates]
        assert found.complete
        assert len(keys) == len(set(keys)), f"seed {seed}: a candidate comes twice"
        assert set(keys) == expected, f"seed {seed}"
        one = solve(*arguments, rejected=draw.rejected)
        assert one.complete
        assert one.candidates == found.candidates[:1], f"seed {seed}"
        hasty = solve(*arguments, rejected=draw.rejected, limit=2, patience=0)
        assert hasty.complete
        assert len(hasty.candidates) == min(2, len(expected)), f"seed {seed}"
        assert {key(candidate) for candidate in hasty.candidates} <= expected, f"seed {seed}"


def test_the_draws_are_neither_all_possible_nor_all_impossible() -> None:
    met = [bool(_expected(seed)) for seed in range(150)]
    assert 0.2 < sum(met) / len(met) < 0.8


def _expected(seed: int) -> set[Key]:
    draw = Draw(seed)
    return Brute(draw.request, draw.space, draw.start, draw.end, draw.rejected).solutions()


def test_a_larger_limit_only_adds_candidates_behind_the_others() -> None:
    for seed in range(50):
        draw = Draw(seed)
        found = [
            solve(draw.request, draw.space, draw.start, draw.end, limit=limit).candidates
            for limit in (1, 2, 5, 20)
        ]
        assert all(few == many[: len(few)] for few, many in pairwise(found))
