"""Virtual media: find the drives, empty them all, put an image in, and look whether it is there."""

from typing import Any
from urllib.parse import urlsplit

import anyio
import msgspec

from mulligan.redfish.answers import Json, items, link, links, reference, section, text
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import note
from mulligan.redfish.faults import BmcFault

_TRIES = 3


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual drive as reported. ``inserted`` is None when the BMC does not tell."""

    path: str
    media_types: tuple[str, ...] = ()
    image: str = ""
    inserted: bool | None = None
    insert: str = ""
    eject: str = ""
    etag: str = ""

    @property
    def takes_cd(self) -> bool:
        """Whether a CD image may go in; drives that do not tell count."""
        return not self.media_types or bool({"CD", "DVD"} & set(self.media_types))

    @property
    def occupied(self) -> bool:
        """Whether anything is in it."""
        return self.inserted is True or (self.inserted is None and bool(self.image))


def slot_of(path: str, body: Json, etag: str = "") -> Slot:
    """Read a VirtualMedia resource."""
    actions = section(body, "Actions")
    inserted = body.get("Inserted")
    return Slot(
        path=path,
        media_types=tuple(text(kind) for kind in items(body.get("MediaTypes"))),
        image=reference(body.get("Image")).strip(),
        inserted=inserted if isinstance(inserted, bool) else None,
        insert=reference(section(actions, "#VirtualMedia.InsertMedia").get("target")),
        eject=reference(section(actions, "#VirtualMedia.EjectMedia").get("target")),
        etag=etag,
    )


def same_media(image: str, url: str) -> bool:
    """Tell whether ``image`` is what was inserted as ``url``.

    The path decides: it holds an unguessable token, whereas another executor may serve it under
    another host.
    """
    if image == url:
        return True
    try:
        wanted, found = urlsplit(url).path, urlsplit(image).path
    except ValueError:
        return False
    return len(wanted) > 32 and found == wanted


async def slots(bmc: BmcClient) -> list[Slot]:
    """Return the system's virtual drives, else those of its manager, CD drives first.

    Raise ``unsupported`` when there is none.
    """
    system = (await bmc.system()).body
    found = await _slots_at(bmc, link(system, "VirtualMedia"))
    managers = links(section(system, "Links").get("ManagedBy"))
    if not found and managers:
        manager = await bmc.get_optional(managers[0])
        found = await _slots_at(bmc, link(manager.body if manager else {}, "VirtualMedia"))
    if not found:
        raise BmcFault("unsupported", f"{bmc.origin} offers no virtual media for this system")
    return sorted(found, key=lambda slot: not slot.takes_cd)


async def _slots_at(bmc: BmcClient, collection: str) -> list[Slot]:
    if not collection:
        return []
    reply = await bmc.get_optional(collection)
    if reply is None:
        return []
    found: list[Slot] = []
    for path in links(reply.body.get("Members"))[:16]:
        member = await bmc.get_optional(path)
        if member is not None:
            found.append(slot_of(path, member.body, member.etag))
    return found


async def eject_all(bmc: BmcClient) -> list[str]:
    """Empty every drive and return the URLs that were in them; idempotent."""
    out: list[str] = []
    for slot in await slots(bmc):
        if slot.occupied:
            out.append(slot.image)
            await _eject(bmc, slot)
    return out


async def _eject(bmc: BmcClient, slot: Slot) -> None:
    fault: BmcFault | None = None
    for turn in range(_TRIES):
        if turn:
            await anyio.sleep(bmc.timings.media_pause)
        try:
            if slot.eject:
                await bmc.post(slot.eject, {}, slow=True)
            else:
                await bmc.patch(slot.path, {"Image": None, "Inserted": False}, etag=slot.etag)
        except BmcFault as trouble:
            if not trouble.heals:
                raise
            fault = trouble
        if not (await _reread(bmc, slot)).occupied:
            return
    raise fault or BmcFault(
        "not-applied", f"{bmc.origin} accepted to eject {slot.path} and still reports it inserted"
    )


async def insert(bmc: BmcClient, url: str) -> Slot:
    """Put ``url`` into the first CD drive that takes it; all drives must be empty.

    Tries the next drive on 400 and 405. Raise Ambiguous when the outcome is open.
    """
    fault: BmcFault | None = None
    for slot in await slots(bmc):
        if not slot.takes_cd:
            continue
        try:
            await _insert_into(bmc, slot, url)
        except BmcFault as trouble:
            if trouble.status not in (400, 405):
                raise
            note(f"{slot.path} did not take the image: the next drive is tried")
            fault = trouble
        else:
            return await _inserted(bmc, slot, url)
    raise fault or BmcFault("unsupported", f"{bmc.origin} has no virtual CD drive")


async def _insert_into(bmc: BmcClient, slot: Slot, url: str) -> None:
    """Insert, three times at most on 5xx, each time only after seeing that it is not there."""
    for turn in range(_TRIES):
        try:
            await _send_insert(bmc, slot, url)
            return
        except BmcFault as fault:
            if fault.status < 500 or fault.status == 501 or turn == _TRIES - 1:
                raise
        await anyio.sleep(bmc.timings.media_pause)
        if holds(await _reread(bmc, slot), url):
            note("the BMC reported an error and inserted the image all the same")
            return


async def _send_insert(bmc: BmcClient, slot: Slot, url: str) -> None:
    if not slot.insert:
        await bmc.patch(slot.path, {"Image": url, "Inserted": True}, etag=slot.etag)
        return
    body: dict[str, Any] = {"Image": url, "Inserted": True, "WriteProtected": True}
    try:
        await bmc.post(slot.insert, body, slow=True)
    except BmcFault as fault:
        if fault.status != 400 or not _wants_more(fault.message):
            raise
        note("the BMC wants TransferProtocolType and MediaType with the image")
        more = {"TransferProtocolType": urlsplit(url).scheme.upper(), "MediaType": "CD"}
        await bmc.post(slot.insert, {**body, **more}, slow=True)


def _wants_more(message: str) -> bool:
    return any(name in message for name in ("TransferProtocol", "MediaType", "missing"))


async def _inserted(bmc: BmcClient, slot: Slot, url: str) -> Slot:
    """Wait until the drive shows the image; raise ``not-applied`` when it does not."""
    now = slot
    with anyio.move_on_after(bmc.timings.look_for):
        while True:
            now = await _reread(bmc, slot)
            if holds(now, url):
                return now
            if now.inserted is True and not now.image:
                note("the BMC does not tell which image is inserted")
                return now
            await anyio.sleep(bmc.timings.poll)
    raise BmcFault(
        "not-applied",
        f"{bmc.origin} accepted the image and its drive {slot.path} shows "
        f"{'another image' if now.image else 'none'}",
    )


def holds(slot: Slot, url: str) -> bool:
    """Tell whether the drive shows this very image, inserted."""
    return slot.inserted is not False and same_media(slot.image, url)


async def find_inserted(bmc: BmcClient, url: str) -> Slot | None:
    """Return the drive that holds ``url``, if any does."""
    return next((slot for slot in await slots(bmc) if holds(slot, url)), None)


async def _reread(bmc: BmcClient, slot: Slot) -> Slot:
    reply = await bmc.get(slot.path)
    return slot_of(slot.path, reply.body, reply.etag)
