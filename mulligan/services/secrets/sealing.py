"""A secret is sealed before the commit that names it, and destroyed again if that does not land."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mulligan.errors import MulliganError, Unavailable
from mulligan.secrets import SecretStore


class Kept:
    """Whether the commit that names the secret has landed, as far as is known."""

    landed = False


@asynccontextmanager
async def sealed(secrets: SecretStore, kind: str, id: str, version: str) -> AsyncIterator[Kept]:
    """Run the command that names a secret; destroy the secret where it certainly did not land.

    After an outcome that is not known the secret stays, for the commit may name it. An empty
    ``version`` is no secret.
    """
    kept = Kept()
    try:
        yield kept
    except Unavailable:
        raise  # the outcome may not be known
    except MulliganError:
        if version:
            await secrets.retire(kind, id, version)
        raise
    if version and not kept.landed:
        await secrets.retire(kind, id, version)
