"""Virtual media: put an image into an empty drive, take it out, and look whether it is so."""

from typing import Any
from urllib.parse import urlsplit

import anyio

from mulligan.redfish import media_trust
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import note
from mulligan.redfish.drives import Slot, holds, may_hold, slot_of, slots
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.media_trust import MediaTrust

_TRIES = 3


async def eject_all(bmc: BmcClient) -> list[str]:
    """Empty every drive and return the URLs that were in them; idempotent."""
    out: list[str] = []
    for slot in await slots(bmc):
        if slot.occupied:
            out.append(slot.image)
            await _eject(bmc, slot)
    return out


async def eject(bmc: BmcClient, url: str) -> bool:
    """Empty just the drive that holds ``url``; tell whether one did. Idempotent.

    Where a BMC does not show what is inserted, the only drive that can hold it is emptied.
    """
    found = await slots(bmc)
    held = [slot for slot in found if holds(slot, url)]
    if not held:
        held = [slot for slot in found if may_hold(slot, url)]
        if len(held) > 1:
            raise BmcFault(
                "unsupported",
                f"{bmc.origin} does not show which of {len(held)} drives holds the image; eject "
                "all of them",
            )
        if held:
            note(f"{held[0].path} does not tell its image: taken for the one to eject")
    for slot in held:
        await _eject(bmc, slot)
    return bool(held)


async def _eject(bmc: BmcClient, slot: Slot) -> None:
    fault: BmcFault | None = None
    for turn in range(_TRIES):
        if turn:
            await anyio.sleep(bmc.timings.media_pause)
        try:
            if slot.eject:
                await bmc.post(slot.eject, {}, slow=True)
            else:
                await _patch_out(bmc, slot)
        except BmcFault as trouble:
            if not trouble.heals:
                raise
            fault = trouble
        if not (await _reread(bmc, slot)).occupied:
            return
    raise fault or BmcFault(
        "not-applied", f"{bmc.origin} accepted to eject {slot.path} and still reports it inserted"
    )


async def _patch_out(bmc: BmcClient, slot: Slot) -> None:
    try:
        await bmc.patch(slot.path, {"Image": None, "Inserted": False}, etag=slot.etag)
    except BmcFault as fault:
        if fault.status != 400:
            raise
        note("the BMC takes only the image to eject")
        await bmc.patch(slot.path, {"Image": None}, etag=slot.etag)


async def insert(bmc: BmcClient, url: str, trust: MediaTrust | None = None) -> Slot:
    """Put ``url`` into the first empty CD drive that takes it, else into a USB stick's place.

    Drives in use are passed over; the next one is tried on 400 and 405. Before, a drive is told
    whom to ``trust``. Raise ``unsupported`` when all are in use, Ambiguous when the outcome is
    open.
    """
    try:
        return await _insert(bmc, url, trust)
    except BmcFault as fault:
        raise media_trust.explained(fault, url) from fault


async def _insert(bmc: BmcClient, url: str, trust: MediaTrust | None) -> Slot:
    found = await slots(bmc)
    cds = [slot for slot in found if slot.takes_cd]
    sticks = [slot for slot in found if slot.takes_usb and not slot.takes_cd]
    empty = [slot for slot in (*cds, *sticks) if not slot.occupied]
    if not empty:
        raise _none_left(bmc, cds)
    fault: BmcFault | None = None
    for slot in empty:
        if trust is not None:
            await media_trust.prepare(bmc, slot, trust)
        try:
            await _insert_into(bmc, slot, url)
        except BmcFault as trouble:
            if trouble.status not in (400, 405):
                raise
            note(f"{slot.path} did not take the image: the next drive is tried")
            fault = trouble
        else:
            if not slot.takes_cd:
                note(f"no CD drive was left: {slot.path} shows the image as a USB stick")
            return await _inserted(bmc, slot, url)
    raise fault or _none_left(bmc, cds)


def _none_left(bmc: BmcClient, cds: list[Slot]) -> BmcFault:
    if not cds:
        return BmcFault("unsupported", f"{bmc.origin} has no virtual CD drive")
    return BmcFault(
        "unsupported",
        f"{bmc.origin} has {len(cds)} virtual CD drive(s) and all are in use; eject one of: "
        + ", ".join(slot.path for slot in cds),
    )


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
    body: dict[str, Any] = {"Image": url, "Inserted": True, "WriteProtected": True}
    if not slot.insert:
        body.pop("WriteProtected")
    try:
        await _send_body(bmc, slot, body)
        return
    except BmcFault as fault:
        if fault.status != 400:
            raise
        first = fault
    for remark, other in _other_bodies(first.message, slot, body):
        try:
            await _send_body(bmc, slot, other)
        except BmcFault as fault:
            if fault.status != 400:
                raise
        else:
            note(remark)
            return
    raise first


async def _send_body(bmc: BmcClient, slot: Slot, body: dict[str, Any]) -> None:
    if slot.insert:
        await bmc.post(slot.insert, body, slow=True)
    else:
        await bmc.patch(slot.path, body, etag=slot.etag)


_VAGUE = ("ExtendedInfo", "general error", "GeneralError", "Property", "ActionParameter")
"""What a complaint has in it that does not say which property it means."""


def _other_bodies(
    message: str, slot: Slot, body: dict[str, Any]
) -> list[tuple[str, dict[str, Any]]]:
    """Return the other bodies worth a try after a 400 with this message, with what to note."""
    protocol = {"TransferProtocolType": urlsplit(str(body["Image"])).scheme.upper()}
    fuller = [
        (
            "the BMC wants TransferProtocolType and MediaType with the image",
            {**body, **protocol, "MediaType": "CD"},
        ),
        ("the BMC wants TransferProtocolType with the image", {**body, **protocol}),
    ]
    bare = [("the BMC takes the image's URL alone", {"Image": body["Image"]})]
    complaint = message.partition(" with 400")[2]
    if any(name in complaint for name in ("Inserted", "WriteProtected")):
        return bare
    if any(name in complaint for name in ("TransferProtocol", "MediaType", "missing")):
        return fuller if slot.insert else bare
    if ":" not in complaint or any(name in complaint for name in _VAGUE):
        return [*fuller, *bare] if slot.insert else bare
    return []


async def _inserted(bmc: BmcClient, slot: Slot, url: str) -> Slot:
    """Wait until the drive shows the image; raise ``not-applied`` when it does not."""
    now = slot
    with anyio.move_on_after(bmc.timings.look_for):
        while True:
            now = await _reread(bmc, slot)
            if holds(now, url):
                return now
            if may_hold(now, url):
                note("the BMC does not tell which image is inserted")
                return now
            await anyio.sleep(bmc.timings.poll)
    raise BmcFault(
        "not-applied",
        f"{bmc.origin} accepted the image and its drive {slot.path} shows "
        f"{'another image' if now.image else 'none'}",
    )


async def find_inserted(bmc: BmcClient, url: str) -> Slot | None:
    """Return the drive that holds ``url``, if any does."""
    return next((slot for slot in await slots(bmc) if holds(slot, url)), None)


async def _reread(bmc: BmcClient, slot: Slot) -> Slot:
    reply = await bmc.get(slot.path)
    return slot_of(slot.path, reply.body, reply.etag)
