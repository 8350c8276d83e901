"""The key that mulligan-iam signs with: private in the secret store, public in the log.

Keys are numbered from 1. Every replica finds the same newest key; of several that make the first
one at once, one wins and the others use the winner's.
"""

import logging

import anyio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mulligan.commands.runner import Request
from mulligan.errors import FailedPrecondition, MulliganError, Unavailable
from mulligan.events.envelope import Actor
from mulligan.handlers.account import CreateKey, SigningKey
from mulligan.model import CommitId, RegionName, new_id, stream_id
from mulligan.services.runtime import Parts, Runtime
from mulligan.services.tokens import Signer, public_half

log = logging.getLogger(__name__)

SECRET_KIND = "signing-key"
SERVICE_ACTOR = Actor(account="service:iam")
_RETRY_S = 0.5


class SigningKeys:
    """Finds or makes the signing key once the runtime is open."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self._signer: Signer | None = None
        self._found = anyio.Event()

    @property
    def found(self) -> bool:
        """Whether tokens can be signed."""
        return self._signer is not None

    def signer(self) -> Signer:
        """Return the signer; raise Unavailable before there is one."""
        if self._signer is None:
            raise Unavailable("mulligan-iam is still looking for its signing key", 1.0)
        return self._signer

    async def ready(self) -> None:
        """Raise Unavailable unless a key is there within a moment."""
        with anyio.move_on_after(1.0):
            await self._found.wait()
        self.signer()

    async def prepare(self, parts: Parts) -> None:
        """Find or make the key, trying until that succeeds."""
        while self._signer is None:
            try:
                self._signer = await self._find_or_make(parts)
            except MulliganError as error:
                log.warning("no signing key yet", extra={"reason": error.message})
                await anyio.sleep(_RETRY_S)
        self._found.set()

    async def _find_or_make(self, parts: Parts) -> Signer:
        newest: SigningKey | None = None
        number = 1
        while True:
            state: SigningKey | None = (
                await parts.commands.state(stream_id("key", str(number)))
            ).state
            if state is None:
                break
            self._rt.keyring.add(state)
            newest = state if state.honoured_until is None else newest
            number += 1
        if newest is None:
            return await self._make(parts, str(number))
        secret = await parts.secrets.get(SECRET_KIND, newest.kid, newest.version)
        return _signer(self._rt.region, newest.kid, secret.reveal())

    async def _make(self, parts: Parts, kid: str) -> Signer:
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        version = await parts.secrets.put(SECRET_KIND, kid, private)
        command = CreateKey(kid=kid, x=public_half(key), version=version)
        request = Request(id=CommitId(new_id()), actor=SERVICE_ACTOR)
        try:
            await parts.commands.execute(command, request)
        except FailedPrecondition:  # another replica made this key first
            await parts.secrets.retire(SECRET_KIND, kid, version)
            return await self._find_or_make(parts)
        log.info("made a signing key", extra={"kid": kid})
        return Signer(self._rt.region, kid, key)


def _signer(region: RegionName, kid: str, private: bytes) -> Signer:
    return Signer(region, kid, Ed25519PrivateKey.from_private_bytes(private))
