"""The seed medium: a NoCloud config drive that cloud-init, or a wipe image, reads when it boots.

Files and the volume label ``cidata`` are those of cloud-init's NoCloud data source. What Mulligan
wants of the system goes into the vendor data, so that a tenant's user data stays as it was given.
Where both say ``phone_home`` or ``ca_certs``, cloud-init follows the user data.
"""

import io
import re
from datetime import UTC, datetime

import msgspec
import pycdlib

from mulligan.redfish.faults import BmcFault
from mulligan.redfish.iso_dates import set_dates

LABEL = "cidata"
MAX_USER_DATA = 64 * 1024
"""Longest user data, in bytes."""
MAX_DISKS = 256
CA_FILE = "mulligan-ca.pem"
"""The file of a seed with who vouches for the server that the machine reports to."""
PHONE_HOME_TRIES = 10
"""How often cloud-init tries to phone home, about 3 s apart."""

_CLOUD_CONFIG = b"#cloud-config\n"
_NO_USER_DATA = _CLOUD_CONFIG + b"{}\n"
_POSTED = ["instance_id", "hostname", "fqdn", "pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519"]
_HOSTNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_DATE = datetime(2000, 1, 1, tzinfo=UTC)
_READ_ONLY = 0o100444


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """What one machine is told at its boot for one operation.

    ``phone_home_url`` has cloud-init report that the system is up. ``wipe_report_url`` asks for a
    wipe, of the disks with these serial numbers: of all, when none is named. ``authorities`` are
    the PEM certificates of who vouches for the server that is reported to.
    """

    machine: str
    operation: str
    hostname: str = ""
    user_data: bytes = b""
    network_config: bytes = b""
    phone_home_url: str = ""
    wipe_report_url: str = ""
    disks: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()


def build(seed: Seed) -> bytes:
    """Return the ISO image of a seed: the same bytes whenever and wherever it is built.

    Raise ``bad-params`` for user data over 64 KiB, more than 256 disks, or no host name.
    """
    _check(seed)
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    for number, (name, content) in enumerate(files_of(seed).items()):
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            f"/FILE{number}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
            file_mode=_READ_ONLY,
        )
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    image = bytearray(out.getvalue())
    set_dates(image, _DATE)
    return bytes(image)


def files_of(seed: Seed) -> dict[str, bytes]:
    """Return the files of a seed by name. JSON is YAML too: values cannot break out of it."""
    about = {"machine": seed.machine, "operation": seed.operation}
    meta: dict[str, object] = {"instance-id": seed.operation, "mulligan": about}
    if seed.hostname:
        meta["local-hostname"] = seed.hostname
    vendor: dict[str, object] = {}
    if seed.phone_home_url:
        vendor["phone_home"] = {
            "url": seed.phone_home_url,
            "post": _POSTED,
            "tries": PHONE_HOME_TRIES,
        }
        if seed.authorities:
            vendor["ca_certs"] = {"trusted": seed.authorities}
    files = {
        "meta-data": _json(meta),
        "user-data": seed.user_data or _NO_USER_DATA,
        "vendor-data": _CLOUD_CONFIG + _json(vendor),
    }
    if seed.network_config:
        files["network-config"] = seed.network_config
    if seed.wipe_report_url:
        wipe: dict[str, object] = {"report_url": seed.wipe_report_url, "disks": seed.disks}
        if seed.authorities:
            wipe["report_ca"] = CA_FILE
        files["mulligan-wipe.json"] = _json(wipe)
    if seed.authorities:
        files[CA_FILE] = "".join(seed.authorities).encode()
    return files


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _check(seed: Seed) -> None:
    if len(seed.user_data) > MAX_USER_DATA or len(seed.network_config) > MAX_USER_DATA:
        raise BmcFault("bad-params", f"user data is longer than {MAX_USER_DATA} bytes")
    if len(seed.disks) > MAX_DISKS:
        raise BmcFault("bad-params", f"{len(seed.disks)} disks to wipe: at most {MAX_DISKS}")
    if seed.hostname and not _HOSTNAME.fullmatch(seed.hostname):
        raise BmcFault("bad-params", f"{seed.hostname[:80]!r} is no host name")
