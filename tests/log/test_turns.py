"""Turns, in simulated time."""

from random import Random

from mulligan.log.turns import Turns

TRIP = 0.001


def race(writers: int, rounds: int, seed: int) -> tuple[dict[str, int], int]:
    """Let writers with endless work race; return each one's wins and how many races were lost."""
    rng = Random(seed)
    names = [f"w{n}" for n in range(writers)]
    turns = {name: Turns(name, rng) for name in names}
    wins, lost, now = dict.fromkeys(names, 0), 0, 1.0
    for _ in range(rounds):
        due = {name: now + max(0.0, turns[name].delay(now)) for name in names}
        first = min(due.values())
        racing = [name for name in names if due[name] <= first + TRIP]
        winner = rng.choice(racing)
        now = first + TRIP
        for name in racing:
            turns[name].go(first)
        wins[winner] += 1
        for name in names:
            turns[name].saw(winner, now)
            if name in racing and name != winner:
                turns[name].lost(now)
                lost += 1
    return wins, lost


def test_a_lone_writer_never_waits() -> None:
    turns = Turns("me", Random(1))
    for n in range(10):
        assert turns.delay(n * TRIP) <= 0
        turns.saw("me", n * TRIP)


def test_contending_writers_take_turns_and_seldom_lose() -> None:
    for seed in range(5):
        wins, lost = race(8, 800, seed)
        assert min(wins.values()) > 0.8 * max(wins.values())
        assert lost < 80


def test_a_writer_that_stopped_is_not_waited_for_again() -> None:
    turns = Turns("me", Random(1))
    turns.saw("other", 1.0)
    turns.saw("me", 1.001)
    assert turns.delay(1.001) > 0
    turns.go(1.01)
    turns.saw("me", 1.011)
    assert turns.delay(1.011) <= 0
