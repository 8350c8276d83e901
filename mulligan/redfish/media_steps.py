"""The steps of virtual media and HTTP boot: the image a machine boots, and the seed beside it."""

from hashlib import sha256

import anyio

from mulligan.errors import Corrupt, DeadlineExceeded, NotFound, Unavailable
from mulligan.redfish import boot, drives, media, media_trust
from mulligan.redfish.config_drive import Seed, build
from mulligan.redfish.digests import note
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.image_cache import checked_sha256
from mulligan.redfish.media_server import MediaServer, boot_name, is_seed
from mulligan.redfish.media_trust import MediaTrust
from mulligan.redfish.step import Observation, StepContext, done, is_set, param

_USER_DATA_S = 30.0


def _server(context: StepContext) -> MediaServer:
    if context.media is None:
        raise BmcFault("bad-params", "this executor runs no media server: it cannot serve images")
    return context.media


# -- images ----------------------------------------------------------------------------------


async def stage_image(context: StepContext) -> Observation:
    """Have the image on this executor, verified."""
    url, checksum = param(context, "image_url"), param(context, "sha256")
    path = await _server(context).stage(url, checksum)
    return done(f"image of {path.stat().st_size} bytes is here, sha256 {checksum}")


def _image_url(context: StepContext) -> str:
    """Return the given ``url``, else that of the image as published for this action."""
    if context.params.get("url"):
        return context.params["url"]
    url, checksum = param(context, "image_url"), param(context, "sha256")
    return _server(context).publish(url, checksum, context.action, machine=context.machine)


async def insert_media(context: StepContext) -> Observation:
    """Empty all drives and insert the image; what was inserted already stays."""
    if not context.params.get("url"):
        # Staged by an earlier step, but perhaps by another executor.
        await stage_image(context)
    url = _image_url(context)
    if await media.find_inserted(context.bmc, url) is not None:
        return done("was inserted already")
    await _eject_all(context)
    _withdraw_all(context, but=url)
    slot = await media.insert(context.bmc, url, _trust(context, url))
    if context.media is not None and (read := context.media.fetched(url)).bytes:
        note(f"the BMC has read {read.bytes} of {read.size} bytes from the media server")
    return done(f"inserted into {slot.path}")


def _trust(context: StepContext, url: str) -> MediaTrust | None:
    """Return whom a drive must trust to fetch ``url``, if that is our media server over TLS."""
    ours = context.media is not None and url.startswith(context.media.url)
    return context.media.trust if ours and context.media is not None else None


async def look_for_media(context: StepContext) -> Observation | None:
    """Tell whether the image of this attempt is inserted."""
    slot = await media.find_inserted(context.bmc, _image_url(context))
    return None if slot is None else done(f"is in {slot.path}")


async def boot_http(context: StepContext) -> Observation:
    """Have the next boot load the image by UEFI HTTP boot, from this executor."""
    await stage_image(context)
    image, checksum = param(context, "image_url"), param(context, "sha256")
    url = _server(context).publish(
        image, checksum, context.action, machine=context.machine, name=boot_name(image)
    )
    if (trust := _server(context).trust) is not None:
        await media_trust.prepare_boot(context.bmc, trust)
    await boot.boot_http(context.bmc, url)
    return done("boots once by UEFI HTTP boot")


# -- the seed --------------------------------------------------------------------------------


async def insert_seed(context: StepContext) -> Observation:
    """Insert the seed of this attempt beside what is in the drives, in place of an older one."""
    url = await _publish_seed(context)
    held = [slot.image for slot in await drives.slots(context.bmc) if slot.occupied]
    if any(drives.same_media(image, url) for image in held):
        return done("was inserted already")
    for image in held:
        if is_seed(image):
            note("the seed of an earlier attempt was ejected")
            await media.eject(context.bmc, image)
            _server(context).withdraw(image)
    slot = await media.insert(context.bmc, url, _server(context).trust)
    return done(f"seed inserted into {slot.path}")


async def look_for_seed(context: StepContext) -> Observation | None:
    """Tell whether the seed of this attempt is inserted; serve it if so, as another may have."""
    machine, operation = _subject(context)
    url = _server(context).seed_url(machine, operation, context.action)
    slot = await media.find_inserted(context.bmc, url)
    if slot is None:
        return None
    await _publish_seed(context)
    return done(f"seed is in {slot.path}")


def _subject(context: StepContext) -> tuple[str, str]:
    """Return the machine and the operation that the seed is for."""
    machine = context.machine or param(context, "machine")
    return machine, context.operation or param(context, "operation")


async def _publish_seed(context: StepContext) -> str:
    server, (machine, operation) = _server(context), _subject(context)
    disks = context.params.get("disks", "").split(",")
    home, wipe = is_set(context, "phone_home"), is_set(context, "wipe")
    seed = Seed(
        machine=machine,
        operation=operation,
        hostname=context.params.get("hostname", ""),
        user_data=await _user_data(context),
        phone_home_url=server.report_url("phone-home", machine, operation) if home else "",
        wipe_report_url=server.report_url("wipe-report", machine, operation) if wipe else "",
        authorities=server.authorities if home or wipe else (),
        disks=tuple(serial for serial in map(str.strip, disks) if serial),
    )
    return server.publish_seed(machine, operation, context.action, build(seed))


async def _user_data(context: StepContext) -> bytes:
    """Return the user data, unchanged since it was given; empty when there is none."""
    key = context.params.get("user_data", "")
    if not key:
        return b""
    version, checksum = param(context, "user_data_version"), param(context, "user_data_sha256")
    if context.read_user_data is None:
        raise BmcFault("bad-params", "this executor has no access to user data")
    what = f"user data {key[:80]}"
    try:
        with anyio.fail_after(_USER_DATA_S):
            content = await context.read_user_data(key, version)
    except NotFound as error:
        raise BmcFault("image-missing", f"{what} is gone; deploy with another") from error
    except Corrupt as error:
        raise BmcFault("checksum-mismatch", f"{what}: {error.message}") from error
    except (Unavailable, DeadlineExceeded, TimeoutError) as error:
        raise BmcFault("image-unavailable", f"{what} cannot be read now") from error
    if (found := sha256(content).hexdigest()) != checked_sha256(checksum):
        raise BmcFault("checksum-mismatch", f"{what} has the sha256 {found}, not {checksum}")
    return content


# -- both ------------------------------------------------------------------------------------


async def eject_media(context: StepContext) -> Observation:
    """Empty all drives and stop serving whatever was published for the machine."""
    count = await _eject_all(context)
    _withdraw_all(context)
    return done(f"ejected {count}" if count else "all drives were empty")


def _withdraw_all(context: StepContext, *, but: str = "") -> None:
    """Stop serving what an earlier operation left behind: no drive of the machine holds it."""
    if context.media is not None and context.machine:
        context.media.withdraw_all(context.machine, but=but)


async def _eject_all(context: StepContext) -> int:
    try:
        out = await media.eject_all(context.bmc)
    except BmcFault as fault:
        # What the BMC refused has a status; none stands for a machine without virtual drives.
        if fault.fault != "unsupported" or fault.status:
            raise
        note(fault.message)
        return 0
    for url in out:
        if context.media is not None:
            context.media.withdraw(url)
    return len(out)
