"""Virtual drives as BMCs report them: where they are, what they take, what is in them."""

from urllib.parse import unquote, urlsplit

import msgspec

from mulligan.redfish.answers import (
    Json,
    items,
    last_segment,
    link,
    links,
    reference,
    section,
    text,
)
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.faults import BmcFault

_MANAGERS = 4
_SLOTS = 16


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual drive as reported; ``inserted`` and ``verify`` are None when it does not tell.

    ``verify`` is whether it checks the certificate of whom it fetches an image from, by those in
    ``certificates``.
    """

    path: str
    media_types: tuple[str, ...] = ()
    image: str = ""
    inserted: bool | None = None
    insert: str = ""
    eject: str = ""
    verify: bool | None = None
    certificates: str = ""
    etag: str = ""

    @property
    def takes_cd(self) -> bool:
        """Whether a CD image may go in; drives that do not tell count."""
        return not self.media_types or bool({"CD", "DVD"} & set(self.media_types))

    @property
    def takes_usb(self) -> bool:
        """Whether it shows an image as a USB stick, which many systems boot an ISO from too."""
        return "USBStick" in self.media_types

    @property
    def occupied(self) -> bool:
        """Whether anything is in it."""
        return self.inserted is True or (self.inserted is None and bool(self.image))


def slot_of(path: str, body: Json, etag: str = "") -> Slot:
    """Read a VirtualMedia resource."""
    actions, verify = section(body, "Actions"), body.get("VerifyCertificate")
    return Slot(
        path=path,
        media_types=tuple(text(kind) for kind in items(body.get("MediaTypes"))),
        image=reference(body.get("Image")).strip(),
        inserted=_inserted_of(body),
        insert=reference(section(actions, "#VirtualMedia.InsertMedia").get("target")),
        eject=reference(section(actions, "#VirtualMedia.EjectMedia").get("target")),
        verify=verify if isinstance(verify, bool) else None,
        certificates=link(body, "Certificates"),
        etag=etag,
    )


def _inserted_of(body: Json) -> bool | None:
    inserted, connected = body.get("Inserted"), text(body.get("ConnectedVia"))
    if isinstance(inserted, bool):
        return inserted
    return connected != "NotConnected" if connected else None


def same_media(image: str, url: str) -> bool:
    """Tell whether ``image`` is what was inserted as ``url``.

    The path decides: it holds an unguessable token, whereas another executor may serve it under
    another host, and some BMCs show it without the scheme or the host.
    """
    if image == url:
        return True
    try:
        wanted = urlsplit(url).path
    except ValueError:
        return False
    return len(wanted) > 32 and unquote(image.partition("?")[0]).endswith(wanted)


async def slots(bmc: BmcClient) -> list[Slot]:
    """Return the system's virtual drives, else those of its managers, CD drives first.

    Raise ``unsupported`` when there is none.
    """
    system = (await bmc.system()).body
    found = await _slots_at(bmc, link(system, "VirtualMedia"))
    if not found:
        for manager in await managers_of(bmc, system):
            reply = await bmc.get_optional(manager)
            found = await _slots_at(bmc, link(reply.body if reply else {}, "VirtualMedia"))
            if found:
                break
    if not found:
        raise BmcFault("unsupported", f"{bmc.origin} offers no virtual media for this system")
    return sorted(usable(found), key=lambda slot: (not slot.takes_cd, not slot.takes_usb))


def usable(found: list[Slot]) -> list[Slot]:
    """Return the drives that an image can be put into.

    Where some have the action for it, those without belong to somebody's remote console.
    """
    return [slot for slot in found if slot.insert] or found


async def managers_of(bmc: BmcClient, system: Json) -> list[str]:
    """Return the paths of a system's managers; the service's only one when it names none."""
    named = links(section(system, "Links").get("ManagedBy"))[:_MANAGERS]
    collection = link(await bmc.root(), "Managers")
    if named or not collection:
        return named
    reply = await bmc.get_optional(collection)
    members = links(reply.body.get("Members")) if reply else []
    return members if len(members) == 1 else []


async def _slots_at(bmc: BmcClient, collection: str) -> list[Slot]:
    if not collection:
        return []
    reply = await bmc.get_optional(collection)
    if reply is None:
        return []
    found: list[Slot] = []
    for path in links(reply.body.get("Members"))[:_SLOTS]:
        member = await bmc.get_optional(path)
        if member is not None:
            found.append(slot_of(path, member.body, member.etag))
    return found


def holds(slot: Slot, url: str) -> bool:
    """Tell whether the drive shows this very image, inserted."""
    return slot.inserted is not False and same_media(slot.image, url)


def may_hold(slot: Slot, url: str) -> bool:
    """Tell whether something is in the drive that may be this image, for all the BMC shows."""
    return slot.inserted is True and slot.image in ("", last_segment(url))
