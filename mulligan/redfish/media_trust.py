"""Whom machines trust when they fetch from the media server over HTTPS, and report to it.

A BMC that keeps certificates for a virtual drive is given the region's CA and told to check the
server by it (Redfish VirtualMedia: ``Certificates``, ``VerifyCertificate``); firmware likewise for
UEFI HTTP boot (ComputerSystem: ``Boot.Certificates``). What a BMC cannot be told stays as its
operator set it, and is noted.
"""

import msgspec

from mulligan.redfish.answers import Json, link, links, section, text
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import note
from mulligan.redfish.drives import Slot
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.tls import certificates_in, common_name, fingerprint

_KEPT = 16
"""Certificates of one collection that are looked at."""
_HINT = (
    "; it may not fetch over HTTPS, or not trust the region's CA: give it tls/ca.pem of the "
    "region, set media.verify = false, or serve plain HTTP with media.tls = false"
)


class MediaTrust(msgspec.Struct, frozen=True, kw_only=True):
    """The region's CA (PEM), and whether BMCs are told to check the media server by it."""

    ca: str
    verify: bool = True


async def prepare(bmc: BmcClient, slot: Slot, trust: MediaTrust) -> None:
    """Have the drive check, or not check, whom it fetches from; idempotent."""
    if slot.verify is None and not slot.certificates:
        note("the BMC does not tell whether it checks the media server's certificate")
    elif not trust.verify:
        await _tell(bmc, slot, verify=False)
    elif not slot.certificates:
        checks = "checks" if slot.verify else "does not check"
        note(f"{slot.path} {checks} the media server's certificate and cannot be given a CA")
    elif await _trusts(bmc, slot.certificates, trust.ca):
        await _tell(bmc, slot, verify=True)


async def prepare_boot(bmc: BmcClient, trust: MediaTrust) -> None:
    """Give the firmware the CA to boot by, where it takes one; idempotent."""
    system = (await bmc.system()).body
    collection = link(section(system, "Boot"), "Certificates")
    if not collection or not await _trusts(bmc, collection, trust.ca):
        note("UEFI HTTP boot needs the region's CA in the firmware: enrol tls/ca.pem there")


def explained(fault: BmcFault, url: str) -> BmcFault:
    """Return the fault of an insert; where HTTPS may be what was refused, it says what to do."""
    if not url.startswith("https:") or not fault.status:
        return fault
    if isinstance(fault, Ambiguous):
        return Ambiguous(fault.message + _HINT, status=fault.status)
    return BmcFault(fault.fault, fault.message + _HINT, status=fault.status)


async def _tell(bmc: BmcClient, slot: Slot, *, verify: bool) -> None:
    if slot.verify is verify:
        return
    try:
        await bmc.patch(slot.path, {"VerifyCertificate": verify}, etag=slot.etag)
    except BmcFault as fault:
        if not _is_no(fault):
            raise
        wanted = "check" if verify else "not to check"
        note(f"{slot.path} could not be told to {wanted} the media server's certificate")


async def _trusts(bmc: BmcClient, collection: str, ca: str) -> bool:
    """Have the CA in a collection of certificates, in the place of its predecessor."""
    wanted = fingerprint(ca.encode())
    older = ""
    reply = await bmc.get_optional(collection)
    for path in links(reply.body.get("Members"))[:_KEPT] if reply else []:
        member = await bmc.get_optional(path)
        print_, name = _identity(member.body if member else {})
        if print_ == wanted:
            return True
        if name and name == common_name(ca.encode()):
            older = path
    body = {"CertificateString": ca, "CertificateType": "PEM"}
    try:
        if older:
            await bmc.delete(older)
        await bmc.post(collection, body)
    except BmcFault as fault:
        if not _is_no(fault):
            raise
        note(f"{collection} did not take the region's CA: it checks as it did before")
        return False
    note("the BMC was given the region's CA")
    return True


def _identity(body: Json) -> tuple[str, str]:
    """Return the SHA-256 of a kept certificate and its common name, as far as they are shown."""
    kept = body.get("CertificateString")
    try:
        (pem, *_) = certificates_in(kept.encode() if isinstance(kept, str) else b"")
    except ValueError:
        shown = text(body.get("Fingerprint")).replace(":", "").lower()
        return shown, text(section(body, "Subject").get("CommonName"))
    return fingerprint(pem), common_name(pem)


def _is_no(fault: BmcFault) -> bool:
    """Tell whether the BMC answered that it does not do this, in whatever words."""
    return fault.status >= 400 and fault.status not in (401, 408, 429, 503)
