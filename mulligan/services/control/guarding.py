"""What guards machines as a whole: hardware profiles, and the brakes of failure domains."""

from mulligan.errors import InvalidArgument
from mulligan.handlers import brake as brakes
from mulligan.handlers import profile as profiles
from mulligan.handlers.brake import REGION_DOMAIN, Brake
from mulligan.handlers.plans import PROFILES
from mulligan.handlers.profile import HardwareProfile, Profiles
from mulligan.handlers.provider import Provider
from mulligan.model import ImageId, stream_id
from mulligan.proto import v1
from mulligan.queries.domains import list_brakes
from mulligan.services import render
from mulligan.services.control.machine_objects import MachineObjects
from mulligan.services.gate.caller import caller, request_of
from mulligan.services.objects import identify
from mulligan.services.reading import page_of, wait_for


class Guarding(MachineObjects):
    """Hardware profiles and brakes."""

    async def set_profile(self, message: v1.SetProfileRequest) -> v1.ProfileResponse:
        """Define how machines of one make are treated, or change it."""
        request = request_of(message)
        given = message.profile
        if given is None:
            raise InvalidArgument("profile", "say what to set")
        wipe_image = await self._image(given.wipe_image) if given.wipe_image else ""
        command = profiles.SetProfile(
            name=given.name,
            manufacturer=given.manufacturer or "*",
            model=given.model or "*",
            deadlines=dict(sorted(given.deadlines.items())),
            clean=tuple(given.clean),
            wipe_image=ImageId(wipe_image),
        )
        await self._commands.execute(command, request)
        known = await self._profiles()
        return v1.ProfileResponse(
            profile=render.profile(known.by_name[given.name]), position=self._position()
        )

    async def list_profiles(self, message: v1.ListProfilesRequest) -> v1.ListProfilesResponse:
        """List all hardware profiles; there are at most 200."""
        known = await self._profiles()
        found: list[HardwareProfile] = [known.by_name[name] for name in sorted(known.by_name)]
        return v1.ListProfilesResponse(
            profiles=[render.profile(one) for one in found], position=self._position()
        )

    async def delete_profile(self, message: v1.DeleteProfileRequest) -> v1.PositionResponse:
        """Forget a hardware profile."""
        request = request_of(message)
        outcome = await self._commands.execute(profiles.DeleteProfile(name=message.name), request)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def _profiles(self) -> Profiles:
        known: Profiles | None = (await self._commands.state(PROFILES)).state
        return known or Profiles()

    async def list_brakes(self, message: v1.ListBrakesRequest) -> v1.ListBrakesResponse:
        """List the domains where actions are stopped."""
        position = await wait_for(self._rt, message.freshness, "machines")
        page = await list_brakes(self._rt.parts.database, page_of(self._rt, message.page))
        return v1.ListBrakesResponse(
            brakes=[await self._brake(row.state) for row in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def _brake(self, state: Brake) -> v1.Brake:
        name = state.domain
        if state.domain != REGION_DOMAIN:
            known: Provider | None = (
                await self._commands.state(stream_id("provider", state.domain))
            ).state
            name = known.name if known is not None else state.domain
        return render.brake(state, name)

    async def release_brake(self, message: v1.ReleaseBrakeRequest) -> v1.PositionResponse:
        """Let actions go on in a domain."""
        request = request_of(message)
        domain = message.domain
        if domain != REGION_DOMAIN:
            domain = await identify(self._commands, "provider", domain, "domain")
        command = brakes.ReleaseBrake(domain=domain, by=caller().account, reason=message.reason)
        outcome = await self._commands.execute(command, request)
        return v1.PositionResponse(position=render.position(outcome.position))
