"""BIOS settings: put them back to the manufacturer's defaults."""

from mulligan.redfish.answers import link, reference, section
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import note
from mulligan.redfish.faults import BmcFault


async def reset_bios(bmc: BmcClient) -> None:
    """Have the BIOS at its defaults from the next boot on; idempotent.

    Raise ``unsupported`` when the BMC has no such action.
    """
    where = link((await bmc.system()).body, "Bios")
    reply = await bmc.get_optional(where) if where else None
    action = section(reply.body if reply else {}, "Actions", "#Bios.ResetBios")
    target = reference(action.get("target"))
    if not target:
        raise BmcFault("unsupported", f"{bmc.origin} offers no reset of the BIOS settings")
    await bmc.post(target, {}, slow=True)
    note("the BIOS settings go back to their defaults at the next boot")
