"""Regions: what this one says of itself, and the others that it was told of."""

import logging
from collections.abc import Mapping
from pathlib import Path

from mulligan.commands.runner import Commands
from mulligan.errors import Exhausted, InvalidArgument, NotFound
from mulligan.handlers import region as handlers
from mulligan.handlers.region import Region, region_stream
from mulligan.handlers.region_form import check_addresses, check_name, check_visibility
from mulligan.log.registry import Member
from mulligan.model import RegionName
from mulligan.proto import v1
from mulligan.queries import regions as queries
from mulligan.services import parse, render
from mulligan.services.gate.caller import request_of
from mulligan.services.reading import wait_for
from mulligan.services.runtime import Runtime
from mulligan.tls import certificates_in
from mulligan.tls_live import Stamp, stamp_of

log = logging.getLogger(__name__)

MAX_PEM = 64 * 1024


class RegionView:
    """Shows regions as messages; what the region itself leaves open is what runs and is trusted."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self._ca: tuple[Stamp, str] = ((), "")

    def message(self, row: render.Versioned) -> v1.Region:
        """Return a region as a message."""
        state: Region = row.state
        home = state.name == self._rt.region
        addresses = list(state.addresses)
        if home and not addresses:
            addresses = running(self._rt.members)
        return v1.Region(
            name=state.name,
            parent=state.parent,
            visibility=state.visibility,
            attributes=dict(state.attributes),
            addresses=addresses,
            ca=self._own_ca() if home else state.ca,
            home=home,
            etag=render.etag(row),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    def _own_ca(self) -> str:
        path = self._rt.config.tls.ca
        if path is None:
            return ""
        stamp = stamp_of([path])
        if stamp != self._ca[0]:
            try:
                self._ca = stamp, _trusted(Path(path).read_bytes())
            except (OSError, ValueError) as error:
                log.warning("the CA cannot be read", extra={"reason": str(error)})
        return self._ca[1]


def running(members: Mapping[str, Member]) -> list[str]:
    """Return addresses at which services run, one of each service in turn, as many as are shown."""
    by_service: dict[str, list[str]] = {}
    for key, member in sorted(members.items()):
        if not member.draining:
            by_service.setdefault(key.split("/")[-2], []).append(member.endpoint)
    longest = max(map(len, by_service.values()), default=0)
    turns = (found[n] for n in range(longest) for found in by_service.values() if n < len(found))
    return list(dict.fromkeys(turns))[:16]


class RegionCalls:
    """The methods of ``Meta`` over regions."""

    _rt: Runtime
    _regions: RegionView

    @property
    def _commands(self) -> Commands:
        return self._rt.parts.commands

    async def list_regions(self, message: v1.ListRegionsRequest) -> v1.ListRegionsResponse:
        """List the region itself and those that it knows."""
        if message.visibility:
            check_visibility(message.visibility)
        wanted = queries.Wanted(
            under=check_name(message.under, "under") if message.under else "",
            visibility=message.visibility,
            attributes=parse.attributes(message.attributes),
        )
        position = await wait_for(self._rt, message.freshness, "regions")
        found = await queries.known_regions(self._rt.parts.database)
        shown = [self._regions.message(one) for one in queries.select(found, wanted)]
        return v1.ListRegionsResponse(regions=shown, position=position)

    async def update_region(self, message: v1.UpdateRegionRequest) -> v1.RegionResponse:
        """Change what the mask names of the region's own description."""
        request = request_of(message)
        mask = set(message.update_mask)
        if not mask or mask - set(handlers.FIELDS):
            raise InvalidArgument("update_mask", f"name some of {', '.join(handlers.FIELDS)}")
        region = self._rt.region
        command = handlers.UpdateRegion(
            region=region,
            fields=tuple(sorted(mask)),
            parent=_parent(message.parent),
            visibility=check_visibility(message.visibility),
            attributes=parse.attributes(message.attributes),
            addresses=check_addresses(message.addresses),
        )
        versions = {region_stream(region): parse.version(message.etag)}
        await self._commands.execute(command, request, versions=versions)
        return await self._region_response(region)

    async def connect_region(self, message: v1.ConnectRegionRequest) -> v1.RegionResponse:
        """Tell this region of another one, or anew what is known of it."""
        request = request_of(message)
        region = check_name(message.name, "name")
        if not message.addresses:
            raise InvalidArgument("addresses", "give at least one address of a service there")
        command = handlers.ConnectRegion(
            region=region,
            parent=_parent(message.parent),
            visibility=check_visibility(message.visibility),
            attributes=parse.attributes(message.attributes),
            addresses=check_addresses(message.addresses),
            ca=_ca(message.ca),
        )
        known = self._rt.present.regions.all()
        if len(known) >= queries.MAX_REGIONS and region not in {one.state.name for one in known}:
            raise Exhausted(
                f"this region knows {len(known)} regions, which is the most; disconnect some"
            )
        await self._commands.execute(command, request)
        return await self._region_response(region)

    async def disconnect_region(self, message: v1.DisconnectRegionRequest) -> v1.PositionResponse:
        """Forget another region; nothing happens to it."""
        request = request_of(message)
        command = handlers.DisconnectRegion(region=check_name(message.name, "name"))
        outcome = await self._commands.execute(command, request)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def _region_response(self, region: RegionName) -> v1.RegionResponse:
        known = await self._commands.state(region_stream(region))
        if known.state is None:
            raise NotFound("region", region)
        at = render.position(self._commands.position())
        return v1.RegionResponse(region=self._regions.message(known), position=at)


def _parent(text: str) -> RegionName:
    return check_name(text, "parent") if text else RegionName("")


def _ca(text: str) -> str:
    """Return the certificates of a PEM text; raise InvalidArgument for what is none."""
    if not text.strip():
        return ""
    if len(text) > MAX_PEM:
        raise InvalidArgument("ca", f"at most {MAX_PEM} characters of PEM")
    try:
        return _trusted(text.encode())
    except ValueError as error:
        raise InvalidArgument(
            "ca", "has no PEM certificate; give the content of the region's tls/ca.pem"
        ) from error


def _trusted(pem: bytes) -> str:
    """Return the certificates of a PEM file and nothing else of it; raise ValueError for none."""
    return b"".join(certificates_in(pem)).decode()
