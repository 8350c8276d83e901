"""The calls of mulligan-iam about keys: those that sign, and the one that seals secrets."""

from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

from mulligan.commands.runner import Outcome
from mulligan.errors import BadConfiguration, Corrupt, FailedPrecondition, MulliganError
from mulligan.events.key import KeyCreated
from mulligan.handlers.signing import check_use, key_stream
from mulligan.model import stream_key, utc_now
from mulligan.proto import v1
from mulligan.services import render
from mulligan.services.gate.caller import caller, request_of
from mulligan.services.iam.signing import SigningKeys, destroy_retired, newest_key, rotate
from mulligan.services.runtime import Runtime
from mulligan.services.secrets.rekeying import rekey


class KeyCalls:
    """The part of ``mulligan.v1.Iam`` that makes, lists and changes keys."""

    _rt: Runtime
    _signing: SigningKeys

    async def get_keys(self, message: v1.GetKeysRequest) -> v1.GetKeysResponse:
        """Return the public keys that verify this region's tokens, the oldest first."""
        await self._signing.ready()
        await self._rt.learn_keys()
        return v1.GetKeysResponse(
            keys=[render.signing_key(k) for k in self._rt.keyring.keys(utc_now())]
        )

    async def rotate_key(self, message: v1.RotateKeyRequest) -> v1.RotateKeyResponse:
        """Sign with a new key from now on; answer once this process does."""
        request = request_of(message)
        use = message.use or "token"
        check_use(use)
        parts = self._rt.parts
        outcome = await parts.commands.earlier(request)
        if outcome is None:
            _, number = await newest_key(parts.commands, use)
            outcome = await rotate(parts, request, use, number, message.compromised)
        kid = await self._made_by(outcome, request.id)
        if use == "token":
            await self._signing.changed_to(kid)
        with suppress(MulliganError):  # whoever signs tokens tries until it succeeds
            await destroy_retired(parts)
        known = await parts.commands.state(key_stream(int(kid)))
        position = render.position(outcome.position)
        return v1.RotateKeyResponse(key=render.signing_key(known.state), position=position)

    async def _made_by(self, outcome: Outcome, request: str) -> str:
        """Return the id of the key that a rotation made, however long ago."""
        commits = [outcome.commit] if outcome.commit is not None else []
        if not commits:
            seq = outcome.position.seq
            async with aclosing(self._rt.parts.log.read(seq, seq)) as batches:
                async for batch in batches:
                    commits = [c for s in batch for c in s.entry.commits if c.id == request]
        for commit in commits:
            for record in commit.events:
                if record.type == KeyCreated.TYPE:
                    return stream_key(record.stream)
        raise Corrupt(f"the rotation {request} made no key")

    async def rekey_secrets(
        self, message: v1.RekeySecretsRequest
    ) -> AsyncIterator[v1.RekeyProgress]:
        """Wrap every secret's key with the newest master key; run it again to resume."""
        try:
            async with aclosing(rekey(self._rt, caller())) as steps:
                async for done in steps:
                    yield v1.RekeyProgress(
                        seen=done.seen,
                        rekeyed=done.rekeyed,
                        failed=done.failed,
                        problem=done.problem,
                        master_key=done.master_key,
                        finished=done.finished,
                    )
        except BadConfiguration as error:
            raise FailedPrecondition(error.message) from error
