"""Stream ``region/<name>``: a region describes itself."""

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


class SecretsRekeyed(msgspec.Struct, frozen=True, kw_only=True):
    """The data keys of ``count`` secrets are wrapped by the master key of this id now."""

    TYPE: ClassVar = "region.secrets_rekeyed"
    master_key: str
    count: int


Event = RegionCreated | SecretsRekeyed
