"""Stream ``key/<kid>``: public halves of the token signing keys."""

from datetime import datetime
from typing import ClassVar

import msgspec


class KeyCreated(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens may be signed with this Ed25519 key; ``x`` is its public half, base64url.

    ``version`` names the private half in the secret store.
    """

    TYPE: ClassVar = "key.created"
    kid: str
    x: str
    version: str


class KeyRetired(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is signed with the key any more; its tokens stay valid until ``honoured_until``."""

    TYPE: ClassVar = "key.retired"
    honoured_until: datetime


Event = KeyCreated | KeyRetired
