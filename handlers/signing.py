"""Streams ``key/<n>``: which keys sign, and how long what each of them signed is honoured.

Keys of both uses share one row of numbers without gaps. A new key takes the next number, so of
several that are made at once one lands and the others are refused.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import ClassVar

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import key as ev
from mulligan.handlers.account import SigningKey
from mulligan.handlers.decision import Change, Command, States
from mulligan.model import StreamId, stream_id

USES = ("token", "log")

MAX_HONOURED = 64
"""So many retired keys may still be honoured: a process keeps all of them in memory."""

_FIRST_READ = 8


class RotateKey(Command, frozen=True, kw_only=True):
    """Sign with key ``kid`` from now on, whose private half is in the secret store as ``version``.

    What the keys before it signed is honoured for ``honoured_for``, the longest life of anything
    that they may have signed a moment ago, or no longer at all if they are ``compromised``.
    """

    NAME: ClassVar = "key.rotate"
    kid: str
    x: str
    version: str
    use: str = "token"
    honoured_for: timedelta = timedelta(0)
    compromised: bool = False

    def reads(self, states: States) -> list[StreamId]:
        """Read the key and all before it, twice as many each time."""
        number = int(self.kid)
        first = max(1, number - max(_FIRST_READ, 2 * len(states)))
        return [key_stream(n) for n in range(first, number + 1)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Announce the key and retire those of its use; refuse a number that is taken."""
        check_use(self.use)
        number = int(self.kid)
        if states.get(key_stream(number)) is not None:
            raise FailedPrecondition(
                f"key {number} was made by another rotation meanwhile; see `mulligan iam key list`,"
                " and rotate again if you still want to"
            )
        earlier = [states.get(key_stream(n)) for n in range(1, number)]
        if None in earlier:
            raise FailedPrecondition(f"key {number} has no key {earlier.index(None) + 1} before it")
        created = ev.KeyCreated(kid=self.kid, x=self.x, version=self.version, use=self.use)
        same = [key for key in earlier if key is not None and key.use == self.use]
        return [Change(key_stream(number), created), *self._retire(same, now)]

    def _retire(self, keys: list[SigningKey], now: datetime) -> Iterator[Change]:
        until = now if self.compromised else now + self.honoured_for
        honoured = [key for key in keys if key.honoured_until and key.honoured_until > now]
        if not self.compromised and len(honoured) >= MAX_HONOURED:
            least = min(key.honoured_until for key in honoured if key.honoured_until)
            raise FailedPrecondition(
                f"{len(honoured)} retired keys are still honoured; rotate after {least:%FT%TZ},"
                " or as compromised, which ends all sessions"
            )
        for key in keys:
            if key.honoured_until is None or (self.compromised and key in honoured):
                yield Change(key_stream(int(key.kid)), ev.KeyRetired(honoured_until=until))


def check_use(use: str) -> None:
    """Raise InvalidArgument unless keys have this use."""
    if use not in USES:
        raise InvalidArgument("use", f"{use!r} is not one of {', '.join(USES)}")


def key_stream(number: int) -> StreamId:
    """Name the stream of the key of a number."""
    return stream_id("key", str(number))
