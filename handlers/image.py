"""Stream ``image/…``: what machines boot."""

import re
from datetime import datetime
from typing import ClassVar, assert_never
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import image as ev
from mulligan.handlers import names
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.handlers.plans import PROFILES
from mulligan.model import ImageId, StreamId, stream_id

KINDS = ("iso", "http-boot")
FIRMWARES = ("uefi", "bios")
READY_WHEN = ("power-on", "phone-home")


class Image(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A bootable image; ``sha256`` is hex."""

    id: ImageId
    name: str
    url: str
    sha256: str
    kind: str
    firmware: str
    ready_when: str
    deleted: bool = False


def evolve(state: Image | None, event: ev.Event, at: datetime) -> Image:
    """Return the image as it is after the event."""
    match event:
        case ev.ImageCreated():
            return Image(
                id=event.image,
                name=event.name,
                url=event.url,
                sha256=event.sha256,
                kind=event.kind,
                firmware=event.firmware,
                ready_when=event.ready_when,
            )
        case ev.ImageDeleted():
            assert state is not None, "the first event of an image creates it"
            return replace(state, deleted=True)
        case _:
            assert_never(event)


def check_image(url: str, sha256: str, kind: str, firmware: str, ready_when: str) -> None:
    """Raise InvalidArgument, naming the field, unless the image can be deployed."""
    if not re.fullmatch(r"[!-~]{1,2048}", url):
        raise InvalidArgument("url", "a URL is 1 to 2,048 visible ASCII characters; encode others")
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"}:
        if not parts.hostname or parts.username or parts.password:
            raise InvalidArgument("url", "give a host and no user or password in the URL")
    elif parts.scheme == "file":
        if parts.netloc or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", parts.path):
            raise InvalidArgument(
                "url", "write file:<name>, a file in the media server's image folder"
            )
    else:
        raise InvalidArgument("url", f"{url!r} is neither http(s)://… nor file:<name>")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise InvalidArgument(
            "sha256", "64 lower-case hex digits are needed: run sha256sum on the image"
        )
    for field, value, known in (
        ("kind", kind, KINDS),
        ("firmware", firmware, FIRMWARES),
        ("ready_when", ready_when, READY_WHEN),
    ):
        if value not in known:
            raise InvalidArgument(field, f"{value!r} is not one of {', '.join(known)}")
    if kind == "http-boot" and firmware != "uefi":
        raise InvalidArgument("firmware", "HTTP boot is a UEFI way to boot; use uefi")


class CreateImage(Command, frozen=True, kw_only=True):
    """Register an image."""

    NAME: ClassVar = "image.create"
    image: ImageId
    name: str
    url: str
    sha256: str
    kind: str = "iso"
    firmware: str = "uefi"
    ready_when: str = "power-on"

    def reads(self, states: States) -> list[StreamId]:
        """Read the image and its name."""
        return [stream_id("image", self.image), names.name_stream("image", self.name)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it under a free name."""
        require_new(states, "image", self.image)
        check_image(self.url, self.sha256, self.kind, self.firmware, self.ready_when)
        event = ev.ImageCreated(
            image=self.image,
            name=self.name,
            url=self.url,
            sha256=self.sha256,
            kind=self.kind,
            firmware=self.firmware,
            ready_when=self.ready_when,
        )
        changes = names.assign(states, "image", self.name, self.image)
        return [*changes, Change(stream_id("image", self.image), event)]


class DeleteImage(Command, frozen=True, kw_only=True):
    """Keep an image from being deployed again."""

    NAME: ClassVar = "image.delete"
    image: ImageId

    def reads(self, states: States) -> list[StreamId]:
        """Read the image and the hardware profiles, then its name."""
        streams = [stream_id("image", self.image), PROFILES]
        state: Image | None = states.get(streams[0])
        return streams if state is None else [*streams, names.name_stream("image", state.name)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Delete it and free its name; machines that run it are not touched."""
        state = existing(states, "image", self.image, Image)
        profiles = states.get(PROFILES)
        for profile in profiles.by_name.values() if profiles is not None else ():
            if profile.wipe_image == self.image:
                raise FailedPrecondition(
                    f"hardware profile {profile.name} wipes with image {state.name}; give it"
                    " another first"
                )
        changes = [Change(stream_id("image", self.image), ev.ImageDeleted())]
        return changes + names.free(states, "image", state.name, self.image)
