"""Stream ``key/<kid>``: public halves of the keys that sign tokens and checkpoints."""

from datetime import datetime
from typing import ClassVar

import msgspec


class KeyCreated(msgspec.Struct, frozen=True, kw_only=True):
    """This Ed25519 key signs from now on; ``x`` is its public half, base64url.

    ``version`` names the private half in the secret store. ``use`` is ``token`` or ``log``.
    """

    TYPE: ClassVar = "key.created"
    kid: str
    x: str
    version: str
    use: str = "token"


class KeyRetired(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is signed with the key any more; what it signed holds until ``honoured_until``."""

    TYPE: ClassVar = "key.retired"
    honoured_until: datetime


Event = KeyCreated | KeyRetired
