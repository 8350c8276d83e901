"""The keys that services sign with: private in the secret store, public in the log.

Every replica signs with the newest key of its use and changes over as soon as its log shows a newer
one; until it has read the private half it goes on with the one before. Of several that make a key
at once, one wins and the others use the winner's.
"""

import logging
from contextlib import suppress
from datetime import timedelta

import anyio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mulligan.commands.runner import Commands, Outcome, Request, time_of
from mulligan.errors import FailedPrecondition, MulliganError, NotFound, Unavailable
from mulligan.events.envelope import Actor
from mulligan.handlers.account import SigningKey
from mulligan.handlers.signing import RotateKey
from mulligan.log.protocol import Stored
from mulligan.model import CommitId, new_id, stream_id, utc_now
from mulligan.services.iam.keyring import every_key
from mulligan.services.iam.tokens import LEEWAY, REFRESH_LIFE, Signer, public_half
from mulligan.services.runtime import Parts, Runtime
from mulligan.services.secrets.sealing import sealed

log = logging.getLogger(__name__)

SECRET_KIND = "signing-key"
HONOURED_FOR = {"token": REFRESH_LIFE + timedelta(minutes=1) + LEEWAY, "log": LEEWAY}
"""The longest life of what a key of each use signs, and a minute in which replicas change over.

A log key's last signature may bear a time by a clock that is ahead of the one that retires the key.
"""

_RETRY_S = 0.5
_CHANGE_OVER_S = 5.0
_STRAY = timedelta(hours=1)


class SigningKeys:
    """The newest key of one use, made if there is none, while ``prepare`` runs."""

    def __init__(self, runtime: Runtime, use: str = "token") -> None:
        self._rt = runtime
        self._use = use
        self._kid = ""
        self._key: Ed25519PrivateKey | None = None
        self._bell = anyio.Event()
        self._changed = anyio.Event()

    @property
    def found(self) -> bool:
        """Whether there is a key to sign with."""
        return self._key is not None

    @property
    def kid(self) -> str:
        """The id of the key that ``sign`` uses; raise Unavailable before there is one."""
        self._private()
        return self._kid

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature of ``data``; raise Unavailable before there is a key.

        The key may have been retired a moment ago. What must not bear a retired key's signature
        has to read the stream ``key/<kid>`` when it is committed.
        """
        return self._private().sign(data)

    def signer(self) -> Signer:
        """Return what signs tokens; raise Unavailable while it could not sign any that hold."""
        key = self._private()
        if self._rt.keyring.knows(self._kid) and not self._rt.keyring.honours(self._kid, utc_now()):
            raise Unavailable(f"{self._rt.service} is changing over to another key", 0.5)
        return Signer(self._rt.region, self._kid, key)

    def _private(self) -> Ed25519PrivateKey:
        if self._key is None:
            raise Unavailable(f"{self._rt.service} is still looking for its signing key", 1.0)
        return self._key

    async def ready(self) -> None:
        """Raise Unavailable unless a key is there within a moment."""
        with anyio.move_on_after(1.0):
            while self._key is None:
                await self._changed.wait()
        self._private()

    async def changed_to(self, kid: str) -> None:
        """Return when the key of this id or a newer one signs here, or after some seconds."""
        with anyio.move_on_after(_CHANGE_OVER_S):
            while int(self._kid or 0) < int(kid):
                await self._changed.wait()

    async def prepare(self, parts: Parts) -> None:
        """Find or make the key, then follow its rotations until cancelled."""
        stop = parts.log.listen(self._on_entry)
        try:
            while True:
                bell = self._bell
                await self._settle(parts)
                await bell.wait()
        finally:
            stop()

    def _on_entry(self, stored: Stored) -> None:
        events = (event for commit in stored.entry.commits for event in commit.events)
        if any(event.stream.startswith("key/") for event in events):
            bell, self._bell = self._bell, anyio.Event()
            bell.set()

    async def _settle(self, parts: Parts) -> None:
        """Sign with the newest key and destroy what signs no more, trying until that succeeds."""
        while True:
            try:
                await self._change_over(parts)
                if self._use == "token":  # one service does it for both uses
                    await destroy_retired(parts)
                return
            except MulliganError as error:
                reason = {"use": self._use, "reason": error.message}
                log.warning("the signing key is not settled yet", extra=reason)
                await anyio.sleep(_RETRY_S)

    async def _change_over(self, parts: Parts) -> None:
        while True:
            newest, number = await newest_key(parts.commands, self._use)
            if newest is not None and newest.kid == self._kid:
                return
            if newest is not None and await self._take(parts, newest):
                return
            request = Request(id=CommitId(new_id()), actor=_actor(self._rt))
            with suppress(FailedPrecondition):  # somebody else took the number
                await rotate(parts, request, self._use, number)

    async def _take(self, parts: Parts, key: SigningKey) -> bool:
        """Sign with a key; return False if its private half is gone.

        It is where the key is retired and our log does not show that yet, or where it was lost;
        then another key is made.
        """
        try:
            secret = await parts.secrets.get(SECRET_KIND, key.kid, key.version)
        except NotFound:
            log.warning("a key has no private half", extra={"use": self._use, "kid": key.kid})
            return False
        self._key = Ed25519PrivateKey.from_private_bytes(secret.reveal())
        self._kid = key.kid
        log.info("signs with this key now", extra={"use": self._use, "kid": key.kid})
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
        return True


def _actor(runtime: Runtime) -> Actor:
    return Actor(account=f"service:{runtime.service}")


async def newest_key(commands: Commands, use: str) -> tuple[SigningKey | None, int]:
    """Return the key that signs now, and the number that the next key of any use will have."""
    active: SigningKey | None = None
    count = 0
    async for keys in every_key(commands):
        count += len(keys)
        active = next((k for k in keys if k.use == use and k.honoured_until is None), active)
    return active, count + 1


async def rotate(
    parts: Parts, request: Request, use: str, number: int, compromised: bool = False
) -> Outcome:
    """Make key ``number`` and retire those of its use, in one commit.

    Raise FailedPrecondition when the number is taken. The private half is sealed first, and does
    not stay if the commit does not land.
    """
    key, kid = Ed25519PrivateKey.generate(), str(number)
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    version = await parts.secrets.put(SECRET_KIND, kid, private)
    command = RotateKey(
        kid=kid,
        x=public_half(key),
        version=version,
        use=use,
        honoured_for=HONOURED_FOR[use],
        compromised=compromised,
    )
    async with sealed(parts.secrets, SECRET_KIND, kid, version) as kept:
        outcome = await parts.commands.execute(command, request)
        kept.landed = not outcome.repeat
    return outcome


async def destroy_retired(parts: Parts) -> None:
    """Destroy the private halves of retired keys, and those that no key came of in an hour."""
    async for name in parts.secrets.names(SECRET_KIND):
        state: SigningKey | None = (await parts.commands.state(stream_id("key", name.id))).state
        if state is not None and state.version == name.version:
            gone = state.honoured_until is not None
        else:
            made_at = time_of(name.version)
            gone = made_at is None or made_at + _STRAY < utc_now()
        if gone:
            await parts.secrets.retire(SECRET_KIND, name.id, name.version)
            log.info("destroyed the private half of a key", extra={"kid": name.id})
