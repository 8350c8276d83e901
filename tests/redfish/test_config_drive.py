import io
import time
from typing import Any

import msgspec
import pycdlib
import pytest
import yaml

from mulligan.redfish.config_drive import MAX_USER_DATA, Seed, build
from mulligan.redfish.faults import BmcFault

HOME = "http://10.0.0.1:7008/phone-home/m/o/token"
SEED = Seed(
    machine="machine-1",
    operation="operation-1",
    hostname="node-1.lab",
    user_data=b"#!/bin/sh\necho hello\n",
    network_config=b"version: 2\n",
    phone_home_url=HOME,
)


def read_back(image: bytes) -> tuple[dict[str, bytes], Any]:
    """Read an image by Rock Ridge and by Joliet, which must agree, and its primary volume."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    found: list[dict[str, bytes]] = []
    for key in ("rr_path", "joliet_path"):
        files: dict[str, bytes] = {}
        for _, folders, names in iso.walk(**{key: "/"}):
            assert not folders
            for name in names:
                out = io.BytesIO()
                iso.get_file_from_iso_fp(out, **{key: f"/{name}"})
                files[name] = out.getvalue()
        found.append(files)
    assert found[0] == found[1]
    return found[0], iso.pvd


def test_a_seed_is_a_nocloud_medium_with_the_files_that_cloud_init_reads() -> None:
    files, volume = read_back(build(SEED))
    assert volume.volume_identifier.rstrip() == b"cidata"
    assert set(files) == {"meta-data", "user-data", "vendor-data", "network-config"}
    assert files["user-data"] == SEED.user_data
    assert files["network-config"] == SEED.network_config
    assert yaml.safe_load(files["meta-data"]) == {
        "instance-id": "operation-1",
        "local-hostname": "node-1.lab",
        "mulligan": {"machine": "machine-1", "operation": "operation-1"},
    }


def test_phone_home_goes_into_the_vendor_data() -> None:
    vendor = read_back(build(SEED))[0]["vendor-data"]
    assert vendor.startswith(b"#cloud-config\n")
    home = yaml.safe_load(vendor)["phone_home"]
    assert (home["url"], home["tries"]) == (HOME, 10)
    assert {"instance_id", "hostname", "pub_key_ed25519"} <= set(home["post"])


def test_a_seed_of_nothing_is_still_a_valid_medium() -> None:
    files, _ = read_back(build(Seed(machine="m", operation="o")))
    assert set(files) == {"meta-data", "user-data", "vendor-data"}
    for name in ("user-data", "vendor-data"):
        assert files[name].startswith(b"#cloud-config\n")
        assert yaml.safe_load(files[name]) == {}


def test_a_wipe_names_its_disks_and_where_to_report() -> None:
    seed = Seed(machine="m", operation="o", wipe_report_url="http://x/r", disks=("S1", '"},"x'))
    wipe = msgspec.json.decode(read_back(build(seed))[0]["mulligan-wipe.json"])
    assert wipe == {"report_url": "http://x/r", "disks": ["S1", '"},"x']}


def test_who_vouches_for_the_server_is_told_to_cloud_init_and_to_a_wipe() -> None:
    pems = ("-----BEGIN CERTIFICATE-----\nnew\n", "-----BEGIN CERTIFICATE-----\nold\n")
    seed = msgspec.structs.replace(SEED, wipe_report_url="https://x/r", authorities=pems)
    files, _ = read_back(build(seed))
    assert yaml.safe_load(files["vendor-data"])["ca_certs"] == {"trusted": list(pems)}
    assert msgspec.json.decode(files["mulligan-wipe.json"])["report_ca"] == "mulligan-ca.pem"
    assert files["mulligan-ca.pem"].decode() == "".join(pems)
    assert files["user-data"] == SEED.user_data, "a tenant's user data stays as it was given"


def test_the_same_seed_is_the_same_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # The library has no other setting for its clock.
    images = set()
    for zone, now in (("UTC", 1_600_000_000.0), ("Asia/Kolkata", 1_900_000_000.5)):
        with monkeypatch.context() as patch:
            patch.setenv("TZ", zone)
            patch.setattr(time, "time", lambda now=now: now)
            time.tzset()
            images.add(build(SEED))
    time.tzset()
    assert len(images) == 1
    assert build(msgspec.structs.replace(SEED, hostname="node-2")) not in images


def test_every_date_is_the_same_fixed_one() -> None:
    image = build(SEED)
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    assert iso.pvd.volume_creation_date.year == 2000
    for key in ("iso_path", "joliet_path"):
        for record in iso.list_children(**{key: "/"}):
            assert record.date.record() == bytes([100, 1, 1, 0, 0, 0, 0])
    entry: Any = iso.get_record(rr_path="/user-data")
    assert entry.rock_ridge.dr_entries.tf_record.modification_time.years_since_1900 == 100


@pytest.mark.parametrize(
    "bad",
    [
        {"user_data": b"x" * (MAX_USER_DATA + 1)},
        {"disks": ("s",) * 257},
        {"hostname": "node\nphone_home: {}"},
        {"hostname": "-node"},
        {"hostname": "n" * 254},
    ],
)
def test_what_goes_beyond_the_bounds_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(BmcFault) as caught:
        build(msgspec.structs.replace(SEED, **bad))
    assert caught.value.fault == "bad-params"


def test_the_largest_user_data_fits() -> None:
    seed = msgspec.structs.replace(SEED, user_data=b"x" * MAX_USER_DATA)
    assert len(read_back(build(seed))[0]["user-data"]) == MAX_USER_DATA
