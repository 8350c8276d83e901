"""Whose tokens are verified here: no longer than they are honoured, and not before they can be."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mulligan.errors import Unauthenticated, Unavailable
from mulligan.events.key import KeyCreated, KeyRetired
from mulligan.handlers.account import SigningKey
from mulligan.model import RegionName
from mulligan.services.iam import keyring
from mulligan.services.iam.keyring import AHEAD, MAX_WAITING, KeyRing
from mulligan.services.iam.tokens import Signer, public_half

EAST = RegionName("east")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Keys:
    """Keys as services make them, and tokens that they signed at noon."""

    def __init__(self) -> None:
        self.ring = KeyRing(EAST)
        self._private: dict[int, Ed25519PrivateKey] = {}

    def made(self, number: int, use: str = "token") -> KeyCreated:
        private = self._private.setdefault(number, Ed25519PrivateKey.generate())
        return KeyCreated(kid=str(number), x=public_half(private), version="v", use=use)

    def create(self, number: int, use: str = "token") -> None:
        self.ring.follow(str(number), self.made(number, use), NOON)

    def retire(self, number: int, until: datetime) -> None:
        self.ring.follow(str(number), KeyRetired(honoured_until=until), NOON)

    def token(self, number: int) -> str:
        self.made(number)
        return Signer(EAST, str(number), self._private[number]).access("a", "", [], NOON)[0]

    def known(self, now: datetime = NOON) -> list[str]:
        return [key.kid for key in self.ring.keys(now)]


@pytest.fixture
def keys() -> Keys:
    return Keys()


def test_a_token_is_verified_as_long_as_its_key_is_honoured(keys: Keys) -> None:
    keys.create(1)
    token = keys.token(1)
    assert keys.ring.verify(token, "access", NOON)["sub"] == "a"
    keys.create(2)
    keys.retire(1, NOON + timedelta(minutes=1))
    assert keys.ring.verify(token, "access", NOON)["sub"] == "a"
    with pytest.raises(Unauthenticated, match="retired"):
        keys.ring.verify(token, "access", NOON + timedelta(minutes=1))


def test_a_key_that_is_over_is_listed_no_more_and_forgotten_with_the_next(keys: Keys) -> None:
    keys.create(1)
    keys.create(2)
    keys.retire(1, NOON + HOUR)
    assert keys.known(NOON) == ["1", "2"]
    assert keys.known(NOON + HOUR) == ["2"]
    keys.ring.add(SigningKey(kid="3", x=keys.made(3).x, version="v"), NOON + HOUR)
    assert not keys.ring.knows("1")
    with pytest.raises(Unauthenticated, match="does not honour"):
        keys.ring.verify(keys.token(1), "access", NOON + HOUR)


def test_a_key_that_signs_checkpoints_verifies_no_token(keys: Keys) -> None:
    keys.create(1, "log")
    assert keys.known() == []
    with pytest.raises(Unauthenticated, match="does not honour"):
        keys.ring.verify(keys.token(1), "access", NOON)


def test_the_end_of_a_key_that_is_not_known_here_is_none_of_our_business(keys: Keys) -> None:
    keys.retire(7, NOON)
    assert keys.known() == []


async def test_a_token_waits_for_its_key_to_appear(keys: Keys) -> None:
    keys.create(1)
    async with anyio.create_task_group() as tasks:
        for number in (2, 3, 2):
            tasks.start_soon(keys.ring.expect, str(number))
        await anyio.wait_all_tasks_blocked()
        keys.create(2)
        await anyio.wait_all_tasks_blocked()
        keys.create(3)
    assert keys.known() == ["1", "2", "3"]


@pytest.mark.parametrize("kid", ["", "0", "-1", "01", "x", "٣", "9" * 10, str(4 + AHEAD + 1), "3"])
async def test_a_key_that_cannot_come_is_not_waited_for(keys: Keys, kid: str) -> None:
    for number in (1, 2, 4):
        keys.create(number)
    with anyio.fail_after(0.5):
        await keys.ring.expect(kid)


async def test_the_wait_for_a_key_that_does_not_come_ends(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "WAIT_S", 0.02)
    keys.create(1)
    await keys.ring.expect("2")
    assert not keys.ring.knows("2")


async def test_so_many_wait_and_more_are_told_to_come_back(keys: Keys) -> None:
    keys.create(1)
    async with anyio.create_task_group() as tasks:
        for _ in range(MAX_WAITING):
            tasks.start_soon(keys.ring.expect, "2")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(Unavailable) as refused:
            await keys.ring.expect("2")
        assert refused.value.retry_after
        keys.create(2)
