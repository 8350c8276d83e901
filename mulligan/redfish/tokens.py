"""Unguessable tokens of URLs, made from one secret and what the URL is for.

Nothing is stored: whoever has the secret (``media.key``) tells a token that was given out from one
that was guessed or meant for something else.
"""

import hmac
from hashlib import sha256

import msgspec


class TokenMaker:
    """Makes and verifies tokens of 64 hex digits. Raise ValueError for a secret under 16 bytes."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise ValueError("the media server's secret must have at least 16 bytes")
        self._secret = secret

    def make(self, *purpose: str) -> str:
        """Return the token of this purpose; the first word keeps kinds of URLs apart."""
        # Encoded as a list, no two purposes are the same bytes.
        return hmac.new(self._secret, msgspec.json.encode(purpose), sha256).hexdigest()

    def verifies(self, token: str, *purpose: str) -> bool:
        """Tell, in constant time, whether this is the token of this purpose."""
        return hmac.compare_digest(token.encode(errors="replace"), self.make(*purpose).encode())
