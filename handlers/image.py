"""Streams ``image/…`` and ``credential/…``: what machines boot, and how their BMCs are reached."""

import re
from datetime import datetime
from typing import ClassVar, assert_never
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import credential as credential_events
from mulligan.events import image as ev
from mulligan.handlers import names
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.handlers.plans import PROFILES
from mulligan.model import CredentialId, ImageId, StreamId, stream_id

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


class Credential(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reference to a BMC login; ``version`` names it in the secret store."""

    id: CredentialId
    name: str
    version: str
    deleted: bool = False
    next_version: str = ""
    rotating_since: datetime | None = None


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


def evolve_credential(
    state: Credential | None, event: credential_events.Event, at: datetime
) -> Credential:
    """Return the credential as it is after the event."""
    match event:
        case credential_events.CredentialCreated():
            return Credential(id=event.credential, name=event.name, version=event.version)
        case credential_events.CredentialDeleted():
            assert state is not None, "the first event of a credential creates it"
            return replace(state, deleted=True)
        case credential_events.RotationStarted():
            assert state is not None, "the first event of a credential creates it"
            return replace(state, next_version=event.version, rotating_since=at)
        case credential_events.RotationFinished():
            assert state is not None, "the first event of a credential creates it"
            return replace(state, version=event.version, next_version="", rotating_since=None)
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


class CreateCredential(Command, frozen=True, kw_only=True):
    """Announce a BMC login that is in the secret store already."""

    NAME: ClassVar = "credential.create"
    credential: CredentialId
    name: str
    version: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the credential and its name."""
        return [
            stream_id("credential", self.credential),
            names.name_stream("credential", self.name),
        ]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it under a free name."""
        require_new(states, "credential", self.credential)
        event = credential_events.CredentialCreated(
            credential=self.credential, name=self.name, version=self.version
        )
        changes = names.assign(states, "credential", self.name, self.credential)
        return [*changes, Change(stream_id("credential", self.credential), event)]


class DeleteCredential(Command, frozen=True, kw_only=True):
    """Forget a BMC login; the secret itself is destroyed by the service after this."""

    NAME: ClassVar = "credential.delete"
    credential: CredentialId

    def reads(self, states: States) -> list[StreamId]:
        """Read the credential, then its name."""
        stream = stream_id("credential", self.credential)
        state: Credential | None = states.get(stream)
        return [stream] if state is None else [stream, names.name_stream("credential", state.name)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Delete it and free its name."""
        state = existing(states, "credential", self.credential, Credential)
        event = credential_events.CredentialDeleted()
        changes = [Change(stream_id("credential", self.credential), event)]
        return changes + names.free(states, "credential", state.name, self.credential)
