"""Which keys sign, and how long each is honoured."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.handlers.account import SigningKey
from mulligan.handlers.signing import MAX_HONOURED, RotateKey, key_stream
from tests.handlers.given import HOUR, NOON, Given, types

LIFE = 12 * HOUR


def rotation(number: int, use: str = "token", *, compromised: bool = False) -> RotateKey:
    return RotateKey(
        kid=str(number),
        x=f"x{number}",
        version=f"v{number}",
        use=use,
        honoured_for=LIFE if use == "token" else timedelta(0),
        compromised=compromised,
    )


def at(given: Given, moment: datetime) -> Given:
    given.now = moment
    return given


def key(given: Given, number: int) -> SigningKey:
    state = given.states[key_stream(number)]
    assert isinstance(state, SigningKey)
    return state


def honoured(given: Given, number: int) -> datetime | None:
    return key(given, number).honoured_until


def test_the_first_key_of_a_use_retires_none() -> None:
    given = Given()
    assert types(given.do(rotation(1))) == ["key.created"]
    assert types(given.do(rotation(2, "log"))) == ["key.created"]
    assert (key(given, 1).use, key(given, 2).use) == ("token", "log")
    assert honoured(given, 1) is honoured(given, 2) is None


def test_a_rotation_retires_the_older_key_of_its_use_for_the_life_of_what_that_signed() -> None:
    given = Given()
    given.do(rotation(1))
    given.do(rotation(2, "log"))
    assert types(at(given, NOON + HOUR).do(rotation(3))) == ["key.created", "key.retired"]
    assert honoured(given, 1) == NOON + HOUR + LIFE
    assert honoured(given, 2) is None
    assert types(at(given, NOON + 2 * HOUR).do(rotation(4))) == ["key.created", "key.retired"]
    assert honoured(given, 1) == NOON + HOUR + LIFE


def test_what_a_log_key_signed_holds_and_it_signs_no_more() -> None:
    given = Given()
    given.do(rotation(1, "log"))
    at(given, NOON + HOUR).do(rotation(2, "log"))
    assert honoured(given, 1) == NOON + HOUR


def test_after_a_compromise_no_older_key_of_the_use_is_honoured() -> None:
    given = Given()
    given.do(rotation(1))
    given.do(rotation(2))
    given.do(rotation(3, "log"))
    changes = at(given, NOON + HOUR).do(rotation(4, compromised=True))
    assert types(changes) == ["key.created", "key.retired", "key.retired"]
    assert honoured(given, 1) == honoured(given, 2) == NOON + HOUR
    assert honoured(given, 3) is honoured(given, 4) is None


def test_a_number_that_is_taken_is_refused_whoever_took_it() -> None:
    given = Given()
    given.do(rotation(1))
    for use in ("token", "log"):
        with pytest.raises(FailedPrecondition, match="another rotation"):
            given.do(rotation(1, use))


def test_numbers_have_no_gaps() -> None:
    given = Given()
    given.do(rotation(1))
    with pytest.raises(FailedPrecondition, match="no key 2 before"):
        given.do(rotation(3))


def test_a_use_that_keys_do_not_have_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="use"):
        Given().do(rotation(1, "cookies"))


def test_so_many_keys_are_honoured_and_only_a_compromise_makes_room() -> None:
    given = Given()
    for number in range(1, MAX_HONOURED + 2):
        given.do(rotation(number))
    number = MAX_HONOURED + 2
    with pytest.raises(FailedPrecondition, match=r"rotate after 2026-.*compromised"):
        given.do(rotation(number))
    at(given, NOON + LIFE).do(rotation(number))
    at(given, NOON + LIFE).do(rotation(number + 1, compromised=True))


@drawn(st.lists(st.tuples(st.sampled_from(["token", "log"]), st.booleans()), max_size=40))
def test_one_key_of_a_use_signs_however_keys_were_rotated(steps: list[tuple[str, bool]]) -> None:
    given = Given()
    for number, (use, compromised) in enumerate(steps, 1):
        at(given, NOON + number * HOUR).do(rotation(number, use, compromised=compromised))
    for use in ("token", "log"):
        keys = [key(given, n) for n in range(1, len(steps) + 1)]
        active = [k.kid for k in keys if k.use == use and k.honoured_until is None]
        newest = [k.kid for k in keys if k.use == use][-1:]
        assert active == newest
