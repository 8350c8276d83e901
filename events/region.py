"""Stream ``region/<name>``: a region describes itself; what it was told of another one."""

from typing import ClassVar

import msgspec

from mulligan.model import RegionName


class RegionCreated(msgspec.Struct, frozen=True, kw_only=True):
    """The region exists; ``visibility`` is ``public`` or ``internal``."""

    TYPE: ClassVar = "region.created"
    region: RegionName
    parent: RegionName = RegionName("")
    visibility: str = "public"
    attributes: dict[str, str] = {}


class RegionUpdated(msgspec.Struct, frozen=True, kw_only=True):
    """The region describes itself anew, as a whole.

    ``addresses`` are where clients find it; without any, its running services are.
    """

    TYPE: ClassVar = "region.updated"
    parent: RegionName
    visibility: str
    attributes: dict[str, str]
    addresses: tuple[str, ...]


class RegionConnected(msgspec.Struct, frozen=True, kw_only=True):
    """This log's region was told of another one, or anew what is known of it, as a whole.

    ``ca`` is PEM, of who vouches for the services at ``addresses``.
    """

    TYPE: ClassVar = "region.connected"
    region: RegionName
    parent: RegionName
    visibility: str
    attributes: dict[str, str]
    addresses: tuple[str, ...]
    ca: str


class RegionDisconnected(msgspec.Struct, frozen=True, kw_only=True):
    """This log's region knows nothing of the other one any more."""

    TYPE: ClassVar = "region.disconnected"


class SecretsRekeyed(msgspec.Struct, frozen=True, kw_only=True):
    """The data keys of ``count`` secrets are wrapped by the master key of this id now."""

    TYPE: ClassVar = "region.secrets_rekeyed"
    master_key: str
    count: int


Event = RegionCreated | RegionUpdated | RegionConnected | RegionDisconnected | SecretsRekeyed
