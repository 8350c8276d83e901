"""Telling regions of one another: what a region says of itself, taken to another one."""

from pathlib import Path

from mulligan.client.client import Client
from mulligan.client.context import Context
from mulligan.errors import InvalidArgument, Unavailable
from mulligan.proto.v1 import (
    ConnectRegionRequest,
    ListEndpointsRequest,
    ListRegionsRequest,
    Region,
    RegionResponse,
)

CALL_S = 10.0
"""Seconds that one call may take."""


async def described(client: Client) -> Region:
    """Return the region that a client talks to, as it describes itself to anybody."""
    answer = await client.catalog.list_endpoints(ListEndpointsRequest(), timeout=CALL_S)
    for region in answer.regions:
        if region.home:
            return region
    raise Unavailable(f"region {answer.region} cannot say what it is; it is of an older release")


def described_by(context: Context) -> Region:
    """Return what a context alone says of its region: where it is, and who vouches for it."""
    return Region(
        name=context.region, visibility="public", addresses=list(context.address), ca=ca_of(context)
    )


def ca_of(context: Context) -> str:
    """Return the CA of a context as PEM, empty for none; raise InvalidArgument if it is lost."""
    if not context.ca:
        return ""
    try:
        return Path(context.ca).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument("ca", f"{context.ca} cannot be read: {error}") from error


async def known_here(client: Client) -> dict[str, Region]:
    """Return the regions that a region knows, itself among them, by name."""
    answer = await client.meta.list_regions(ListRegionsRequest(), timeout=CALL_S)
    return {region.name: region for region in answer.regions}


async def tell(client: Client, region: Region) -> RegionResponse:
    """Tell a region of another one; telling it again changes nothing."""
    request = ConnectRegionRequest(
        name=region.name,
        parent=region.parent,
        visibility=region.visibility,
        attributes=region.attributes,
        addresses=region.addresses,
        ca=region.ca,
    )
    return await client.meta.connect_region(request, timeout=CALL_S)
