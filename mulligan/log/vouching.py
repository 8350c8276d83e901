"""What signed checkpoints in a log are worth: whose signature each bears, and what it vouches for.

A chain alone proves that nothing in it was changed by itself: whoever can write may chain it all
anew. A checkpoint, signed with a key that the writer does not hold, fixes everything up to it.
"""

import base64
import binascii
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mulligan.events.checkpoint import CheckpointSigned, statement
from mulligan.events.codec import Codec, UnreadableEvent
from mulligan.events.envelope import EventRecord
from mulligan.events.key import KeyCreated, KeyRetired
from mulligan.log.identity import Ancestor, ancestor_of
from mulligan.log.protocol import Stored
from mulligan.log.view import BrokenChain
from mulligan.model import Seq, stream_key

REACH = 65_536
"""A checkpoint stands at most so many entries behind the one that it speaks of."""

_SPOKEN_OF = frozenset({CheckpointSigned.TYPE, KeyCreated.TYPE, KeyRetired.TYPE})


class LogKey(msgspec.Struct, frozen=True, kw_only=True):
    """The public half of a log key, base64url; it signed nothing after ``retired_at``."""

    kid: str
    x: str
    retired_at: datetime | None = None


class Vouched(msgspec.Struct, frozen=True, kw_only=True):
    """Up to entry ``seq`` the log is what it was at ``at``, says the holder of the key ``kid``."""

    signed: CheckpointSigned

    @property
    def seq(self) -> Seq:
        """The entry that was signed."""
        return self.signed.seq


class Vouching:
    """Checks the checkpoints of a log, entry by entry; ``vouched`` is the newest that holds.

    Whoever has taken the last entry calls ``finish``.

    Trusted are ``keys``, and with ``trust_log`` those too that the log itself announces. ``before``
    is the entry ahead of the first, if its hash is known. Checkpoints of the logs in ``seeded``,
    which this one goes on from, count up to where it does.
    """

    def __init__(
        self,
        region: str,
        log_id: str,
        keys: Iterable[LogKey],
        *,
        trust_log: bool = False,
        before: tuple[Seq, str] | None = None,
        seeded: Iterable[Ancestor] = (),
    ) -> None:
        self._seeded = tuple(seeded)
        self.vouched: Vouched | None = None
        self._region = region
        self._log_id = log_id
        self._keys = {key.kid: key for key in keys}
        self._trust_log = trust_log
        self._codec = Codec()
        self._retired: set[str] = set()
        self._doubtful: BrokenChain | None = None
        self._hashes: deque[str] = deque(maxlen=REACH)
        self._newest = Seq(0)
        self._oldest = Seq(0)
        if before is not None:
            self._note(*before)

    @property
    def keys(self) -> Mapping[str, LogKey]:
        """The keys that are trusted by now, by id."""
        return self._keys

    def take(self, stored: Stored) -> None:
        """Take the next entry; raise BrokenChain when a checkpoint or a key in it is false."""
        for commit in stored.entry.commits:
            for record in commit.events:
                if record.type in _SPOKEN_OF:
                    self._look_at(stored.seq, record)
        self._note(stored.seq, stored.hash)

    def finish(self) -> None:
        """Raise BrokenChain if an untrusted key signed what no trusted one has vouched for since.

        So a key that leaked need not be trusted any more for what came before to be proven.
        """
        doubtful = self._doubtful
        if doubtful is not None and (self.vouched is None or self.vouched.seq < doubtful.seq):
            raise doubtful

    def _note(self, seq: Seq, hash_: str) -> None:
        if not self._hashes:
            self._oldest = seq
        self._hashes.append(hash_)
        self._newest = seq

    def _look_at(self, seq: Seq, record: EventRecord) -> None:
        try:
            event = self._codec.event(record)
        except UnreadableEvent as error:
            raise BrokenChain(seq, f"cannot be read: {error}") from error
        match event:
            case CheckpointSigned():
                self._check(seq, event)
            case KeyCreated(use="log"):
                self._announce(seq, event)
            case KeyRetired():
                self._retired.add(stream_key(record.stream))

    def _announce(self, seq: Seq, event: KeyCreated) -> None:
        known = self._keys.get(event.kid)
        if known is not None and known.x != event.x:
            raise BrokenChain(
                seq, f"announces a log key {event.kid} that is not the trusted one of that name"
            )
        if known is None and self._trust_log:
            self._keys[event.kid] = LogKey(kid=event.kid, x=event.x)

    def _check(self, seq: Seq, event: CheckpointSigned) -> None:
        holds = f"holds a checkpoint of entry {event.seq}"
        key = self._keys.get(event.kid)
        whose = ancestor_of(self._seeded, event.log_id, event.seq)
        if event.log_id != self._log_id and whose is None:
            raise BrokenChain(seq, f"{holds} of another log, {event.log_id}")
        if event.seq >= seq:
            raise BrokenChain(seq, f"{holds}, which came later")
        if key is None:
            untrusted = f"{holds} signed with key {event.kid}, which is not trusted"
            self._doubtful = BrokenChain(seq, untrusted)
            return
        late = key.retired_at is not None and event.at > key.retired_at
        if late or event.kid in self._retired:
            raise BrokenChain(seq, f"{holds} signed with key {event.kid} after that was retired")
        if not signed_with(key, event, whose.region if whose is not None else self._region):
            raise BrokenChain(seq, f"{holds} whose signature is not that of key {event.kid}")
        if not self._hashes or event.seq < self._oldest:
            return  # it speaks of what lies before all that is looked at
        back = self._newest - event.seq
        if back >= len(self._hashes):
            raise BrokenChain(seq, f"{holds}, further back than one speaks of")
        if self._hashes[-1 - back] != event.hash:
            raise BrokenChain(seq, f"{holds} with another hash: what was signed was rewritten")
        if self.vouched is None or self.vouched.seq < event.seq:
            self.vouched = Vouched(signed=event)


def signed_with(key: LogKey, event: CheckpointSigned, region: str) -> bool:
    """Tell whether the checkpoint bears the key's signature."""
    signed = statement(region, event.log_id, event.seq, event.hash, event.at)
    return verifies(key, event.signature, signed)


def verifies(key: LogKey, signature: str, data: bytes) -> bool:
    """Tell whether a signature (base64url) is the key's, over these bytes."""
    try:
        public = Ed25519PublicKey.from_public_bytes(unbase64(key.x))
        public.verify(unbase64(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def unbase64(text: str) -> bytes:
    """Decode base64url without padding; raise ValueError for anything else, or another form."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("this is no base64url") from error
    if unpadded(raw) != text:
        raise ValueError("this is not the shortest base64url of its bytes")
    return raw


def unpadded(raw: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
