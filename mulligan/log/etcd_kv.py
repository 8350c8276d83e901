"""What is said to etcd and what it answers, as plain structs."""

from typing import Literal

import msgspec


class EtcdSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach etcd: ``host:port`` or URLs, and paths of PEM files for TLS.

    TLS is used when ``ca`` is set; ``cert`` and ``key`` identify us. Times are seconds: ``timeout``
    bounds every call that does not bring its own, ``connect_timeout`` each attempt to connect.
    """

    endpoints: tuple[str, ...]
    ca: str = ""
    cert: str = ""
    key: str = ""
    timeout: float = 2.0
    connect_timeout: float = 1.0
    max_message_bytes: int = 256 * 1024 * 1024


class KeyValue(msgspec.Struct, frozen=True):
    """A key as it stood at the revision read."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


class Ranged(msgspec.Struct, frozen=True):
    """Keys in order; ``revision`` is the store's when it was asked, ``more`` if a limit cut it."""

    revision: int
    kvs: tuple[KeyValue, ...]
    more: bool = False


class Compare(msgspec.Struct, frozen=True):
    """Holds iff the key's revision (or version) equals ``value``; 0 means there is no such key.

    A key's ``value`` is compared with bytes; it equals none while there is no such key. With an
    ``end`` it must hold for every key of [key, end), if there is any; with ``less`` the key's
    must be less than ``value``.
    """

    key: str
    target: Literal["mod", "create", "version", "value"]
    value: int | bytes
    end: str = ""
    less: bool = False


class Put(msgspec.Struct, frozen=True):
    """Store a value, bound to ``lease`` unless that is 0."""

    key: str
    value: bytes
    lease: int = 0


class Get(msgspec.Struct, frozen=True):
    """Read one key, or [key, end)."""

    key: str
    end: str = ""
    limit: int = 0


class Delete(msgspec.Struct, frozen=True):
    """Delete one key, or [key, end)."""

    key: str
    end: str = ""


class TxnResult(msgspec.Struct, frozen=True):
    """What a transaction did; ``gets`` holds the answer of each Get that was run, in order.

    ``deleted`` counts the keys that its Deletes took.
    """

    revision: int
    succeeded: bool
    gets: tuple[Ranged, ...]
    deleted: int = 0


class Change(msgspec.Struct, frozen=True):
    """A key that changed; a deleted one has no value."""

    key: str
    value: bytes
    deleted: bool
    create_revision: int
    mod_revision: int
    version: int


class StoreStatus(msgspec.Struct, frozen=True):
    """One member's answer about itself; sizes in bytes."""

    version: str
    db_size: int
    db_size_in_use: int
    leader: int
    revision: int
    member: int = 0


class ListedMember(msgspec.Struct, frozen=True, kw_only=True):
    """A member of the cluster, as the others know it; without a name it has never started.

    ``addresses`` are ``host:port``.
    """

    id: int
    name: str
    addresses: tuple[str, ...]
    learner: bool


def prefix_end(prefix: str) -> str:
    """Return the end of the range that holds every key beginning with ``prefix``."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
