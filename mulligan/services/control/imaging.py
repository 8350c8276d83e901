"""What machines boot and are given: images and user data."""

import hashlib

from mulligan.errors import InvalidArgument
from mulligan.handlers import image as images
from mulligan.handlers import userdata
from mulligan.handlers.userdata import UserData
from mulligan.model import ImageId, UserDataId, is_uuid
from mulligan.proto import v1
from mulligan.queries import images as queries
from mulligan.services import render
from mulligan.services.control.machine_objects import MachineObjects
from mulligan.services.gate.caller import caller, request_of
from mulligan.services.objects import fetch, identify
from mulligan.services.reading import page_of, wait_for
from mulligan.services.secrets.sealing import sealed

USER_DATA_KIND = "userdata"


class Imaging(MachineObjects):
    """Images and user data."""

    async def create_image(self, message: v1.CreateImageRequest) -> v1.ImageResponse:
        """Register an image."""
        request = request_of(message)
        command = images.CreateImage(
            image=ImageId(request.id),
            name=message.name,
            url=message.url,
            sha256=message.sha256.lower(),
            kind=message.kind or "iso",
            firmware=message.firmware or "uefi",
            ready_when=message.ready_when or "power-on",
        )
        await self._commands.execute(command, request)
        return await self._image_response(request.id)

    async def get_image(self, message: v1.GetImageRequest) -> v1.ImageResponse:
        """Return one image."""
        return await self._image_response(await self._image(message.image))

    async def list_images(self, message: v1.ListImagesRequest) -> v1.ListImagesResponse:
        """List images by age."""
        position = await wait_for(self._rt, message.freshness, "images")
        page = await queries.list_images(self._rt.parts.database, page_of(self._rt, message.page))
        return v1.ListImagesResponse(
            images=[render.image(row, self._rt.region) for row in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def delete_image(self, message: v1.DeleteImageRequest) -> v1.PositionResponse:
        """Keep an image from being deployed again."""
        request = request_of(message)
        uuid = await self._image(message.image)
        outcome = await self._commands.execute(images.DeleteImage(image=ImageId(uuid)), request)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def create_user_data(self, message: v1.CreateUserDataRequest) -> v1.UserDataResponse:
        """Seal user data and announce it by its hash."""
        request = request_of(message)
        project = caller().require_project()
        content = message.content
        if not 0 < len(content) <= userdata.MAX_SIZE:
            raise InvalidArgument(
                "content", f"give 1 to {userdata.MAX_SIZE} bytes, this has {len(content)}"
            )
        secrets = self._rt.parts.secrets
        version = await secrets.put(USER_DATA_KIND, request.id, content)
        command = userdata.CreateUserData(
            user_data=UserDataId(request.id),
            name=message.name,
            project=project,
            version=version,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
        )
        async with sealed(secrets, USER_DATA_KIND, request.id, version) as kept:
            kept.landed = not (await self._commands.execute(command, request)).repeat
        known = await fetch(self._commands, "userdata", request.id)
        return v1.UserDataResponse(
            user_data=render.user_data(known, self._rt.region), position=self._position()
        )

    async def get_user_data(self, message: v1.GetUserDataRequest) -> v1.UserDataResponse:
        """Return user data with its content."""
        uuid = await self._user_data(message.user_data)
        known = await fetch(self._commands, "userdata", uuid)
        state: UserData = known.state
        caller().require_own("userdata", message.user_data, state.project)
        found = render.user_data(known, self._rt.region)
        secret = await self._rt.parts.secrets.get(USER_DATA_KIND, uuid, state.version)
        found.content = secret.reveal()
        return v1.UserDataResponse(user_data=found, position=self._position())

    async def list_user_data(self, message: v1.ListUserDataRequest) -> v1.ListUserDataResponse:
        """List the user data that the caller may see, without its content."""
        who = caller()
        position = await wait_for(self._rt, message.freshness, "images")
        page = await queries.list_user_data(
            self._rt.parts.database,
            page_of(self._rt, message.page),
            project=None if who.is_system else who.project,
        )
        return v1.ListUserDataResponse(
            user_data=[render.user_data(row, self._rt.region) for row in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def delete_user_data(self, message: v1.DeleteUserDataRequest) -> v1.PositionResponse:
        """Forget user data and destroy its content."""
        request = request_of(message)
        uuid = await self._user_data(message.user_data)
        command = userdata.DeleteUserData(
            user_data=UserDataId(uuid), project=caller().visible_project
        )
        outcome = await self._commands.execute(command, request)
        await self._rt.parts.secrets.delete(USER_DATA_KIND, uuid)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def _user_data(self, text: str, project: str = "") -> str:
        """Return the UUID; a name is one of the ``project``, the caller's own by default."""
        if is_uuid(text) or not text:
            return await identify(self._commands, "userdata", text, "user_data")
        scope = project or caller().require_project()
        return await identify(self._commands, "userdata", text, "user_data", scope)

    async def _image_response(self, uuid: str) -> v1.ImageResponse:
        known = await fetch(self._commands, "image", uuid)
        return v1.ImageResponse(
            image=render.image(known, self._rt.region), position=self._position()
        )
