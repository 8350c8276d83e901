"""Checking a BMC: that it answers, with these credentials, and is the one that it was before."""

import anyio
from msgspec.structs import replace

from mulligan.redfish import power
from mulligan.redfish.answers import text
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import note
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.first_contact import certificate_fingerprint
from mulligan.redfish.step import Observation, StepContext, done, is_set

_CLOSE_S = 5.0


async def check(context: StepContext) -> Observation:
    """Tell whether the BMC and its system answer; with ``pin``, whose certificate to go by.

    The certificate is taken before any credential is sent, and the BMC is then asked under that
    pin: who shows another certificate for the second connection gets no credential.
    """
    target = context.bmc.bmc
    if not is_set(context, "pin") or target.fingerprint:
        return await _ask(context.bmc)
    if context.connect is None:
        raise BmcFault("bad-params", "this executor cannot pin a certificate")
    limit = context.bmc.timings.connect
    fingerprint = await certificate_fingerprint(target.address, limit=limit)
    pinned = context.connect(replace(target, fingerprint=fingerprint))
    try:
        seen = await _ask(pinned)
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSE_S):
            await pinned.close()
    note(f"pinned the certificate that the BMC showed at first contact, sha256 {fingerprint}")
    return replace(seen, fingerprint=fingerprint)


async def _ask(bmc: BmcClient) -> Observation:
    root = await bmc.root()
    system = await bmc.system()
    if bmc.origin.startswith("http:"):
        note("the BMC is reached without TLS")
    elif bmc.bmc.fingerprint:
        note("the BMC's certificate matches its pinned fingerprint")
    elif not bmc.bmc.verify:
        note("the BMC's certificate is not checked, as enrolled")
    version = text(root.get("RedfishVersion")) or "of unknown version"
    return done(f"Redfish {version}, {system.path}", power=power.power_of(system.body))
