import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import anyio
import pytest

from mulligan.errors import Conflict, Exhausted, Unavailable
from mulligan.redfish.media_server import MediaServer
from mulligan.redfish.report_intake import BURST, Allowance
from mulligan.redfish.reports import MAX_BODY, Report, ReportAnswer, ReportKind

SECRET = b"0123456789abcdef"
BLOB = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(32)
KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()} root@node-1\n"
FINGERPRINT = "SHA256:" + base64.b64encode(hashlib.sha256(BLOB).digest()).decode().rstrip("=")
WIPE = {"disks": [{"serial": "S1", "method": "nvme-sanitize", "bytes": 4096, "verified": True}]}


class Ledger:
    """Takes each report once, as the log would; ``trouble`` is raised instead."""

    def __init__(self) -> None:
        self.taken: list[Report] = []
        self.trouble: Exception | None = None

    async def take(self, report: Report) -> ReportAnswer:
        if self.trouble is not None:
            raise self.trouble
        if any((r.kind, r.operation) == (report.kind, report.operation) for r in self.taken):
            return "over"
        self.taken.append(report)
        return "taken"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def server(tmp_path: Path, ledger: Ledger) -> AsyncIterator[MediaServer]:
    async with MediaServer(tmp_path / "one", secret=SECRET, on_report=ledger.take) as server:
        yield server


async def post(url: str, body: Any = b"", kind: str = "") -> tuple[int, str, dict[str, str]]:
    headers = {"Content-Type": kind} if kind else {}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers) as response,
    ):
        return response.status, await response.text(), dict(response.headers)


async def post_json(url: str, body: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return response.status, await response.text()


async def test_a_phone_home_by_form_is_taken_once(server: MediaServer, ledger: Ledger) -> None:
    url = server.report_url("phone-home", "m-1", "o-1")
    form = {
        "instance_id": "o-1",
        "hostname": "node-1",
        "pub_key_ed25519": KEY,
        "pub_key_rsa": "N/A",
        "pub_key_ecdsa": "ecdsa-sha2-nistp256 bm90IGEga2V5",
    }
    assert (await post(url, form))[0] == 204
    (report,) = ledger.taken
    assert (report.kind, report.machine, report.operation) == ("phone-home", "m-1", "o-1")
    assert report.address == "127.0.0.1"
    assert report.fields == {"instance_id": "o-1", "hostname": "node-1"}
    assert report.host_keys == {"ed25519": FINGERPRINT}
    status, text, _ = await post(url, form)
    assert (status, "made before" in text) == (410, True)


async def test_a_phone_home_by_json_and_one_that_tells_nothing_are_taken_too(
    server: MediaServer, ledger: Ledger
) -> None:
    url = server.report_url("phone-home", "m-1", "o-1")
    assert (await post_json(url, {"hostname": "node-1", "pub_key_ed25519": KEY}))[0] == 204
    assert (await post(server.report_url("phone-home", "m-1", "o-2")))[0] == 204
    assert [r.fields.get("hostname") for r in ledger.taken] == ["node-1", None]
    assert ledger.taken[0].host_keys == {"ed25519": FINGERPRINT}


async def test_a_wipe_report_carries_the_proof_of_each_disk(
    server: MediaServer, ledger: Ledger
) -> None:
    disks = [*WIPE["disks"], {"serial": "S2", "method": "none", "error": "x" * 5000}]
    url = server.report_url("wipe-report", "m-1", "o-1")
    assert (await post_json(url, {"disks": disks}))[0] == 204
    first, second = ledger.taken[0].proofs
    assert (first.serial, first.method, first.bytes, first.verified) == (
        "S1",
        "nvme-sanitize",
        4096,
        True,
    )
    assert (second.verified, len(second.error)) == (False, 256)


def tampered(url: str, kind: ReportKind) -> list[str]:
    base, token = url.rsplit("/", 1)
    other = "wipe-report" if kind == "phone-home" else "phone-home"
    return [
        f"{base}/{'0' * 64}",
        f"{base}/{token[:-1]}{'0' if token[-1] != '0' else '1'}",
        f"{base}/{token}0",
        f"{base}/{token.upper()}0",
        f"{base}/%C3%A9",
        url.replace("m-1", "m-2"),
        url.replace("o-1", "o-2"),
        url.replace(kind, other),
    ]


@pytest.mark.parametrize("kind", ["phone-home", "wipe-report"])
async def test_a_token_is_good_for_one_kind_machine_and_operation_only(
    server: MediaServer, ledger: Ledger, kind: ReportKind
) -> None:
    for url in tampered(server.report_url(kind, "m-1", "o-1"), kind):
        assert (await post_json(url, WIPE))[0] == 404, url
    assert not ledger.taken


async def test_a_token_of_another_secret_is_not_known(server: MediaServer, tmp_path: Path) -> None:
    other = MediaServer(tmp_path / "other", secret=SECRET[::-1], public_url=server.url)
    assert (await post(other.report_url("phone-home", "m-1", "o-1")))[0] == 404


async def test_any_executor_with_the_same_key_takes_the_report_and_only_one_does(
    server: MediaServer, ledger: Ledger, tmp_path: Path
) -> None:
    async with MediaServer(tmp_path / "two", secret=SECRET, on_report=ledger.take) as second:
        url = server.report_url("phone-home", "m-1", "o-1")
        there = url.replace(server.url, second.url)
        assert there == second.report_url("phone-home", "m-1", "o-1")
        assert (await post(there))[0] == 204
        assert (await post(url))[0] == 410


async def test_a_report_goes_to_where_machines_reach_the_server(tmp_path: Path) -> None:
    server = MediaServer(
        tmp_path, secret=SECRET, public_url="http://bmc-side", machines_url="http://tenant-side/"
    )
    assert server.report_url("phone-home", "m", "o").startswith("http://tenant-side/phone-home/m/o")
    assert server.seed_url("m", "o", "a").startswith("http://bmc-side/media/")


async def test_too_large_a_body_is_refused_announced_or_not(
    server: MediaServer, ledger: Ledger
) -> None:
    url = server.report_url("phone-home", "m-1", "o-1")
    assert (await post(url, b"x" * (MAX_BODY + 1)))[0] == 413

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 65536 + 1):
            yield b"x" * 65536

    assert (await post(url, chunks()))[0] == 413
    assert not ledger.taken


@pytest.mark.parametrize(
    ("kind", "body", "content_type", "names"),
    [
        ("phone-home", b"{", "application/json", "JSON"),
        ("phone-home", b'{"hostname": 5}', "application/json", "str"),
        ("phone-home", b"hostname", "application/x-www-form-urlencoded", "form"),
        ("phone-home", b"hostname=%ff", "application/x-www-form-urlencoded", "form"),
        ("phone-home", b"hostname=\xff", "application/x-www-form-urlencoded", "form"),
        ("phone-home", b"hostname=a&hostname=b", "", "hostname"),
        ("phone-home", urlencode({str(n): n for n in range(33)}).encode(), "", "form"),
        ("wipe-report", b"[]", "", "array"),
        ("wipe-report", b"{}", "", "disks"),
        ("wipe-report", b'{"disks": [{"serial": "S1"}]}', "", "method"),
        ("wipe-report", b'{"disks": [{"serial": "S1", "method": "x", "by": 1}]}', "", "by"),
        (
            "wipe-report",
            b'{"disks": [{"serial": "S", "method": "x", "bytes": -1}]}',
            "",
            "disks[0].bytes",
        ),
        (
            "wipe-report",
            b'{"disks": [{"serial": "S", "method": "x"}, {"serial": "S", "method": "x"}]}',
            "",
            "disks[1].serial",
        ),
        ("wipe-report", b'{"disks": [' + b"[" * 100_000, "", "disks"),
    ],
)
async def test_a_report_that_cannot_be_read_names_the_field_and_leaves_the_token_unused(
    server: MediaServer,
    ledger: Ledger,
    kind: ReportKind,
    body: bytes,
    content_type: str,
    names: str,
) -> None:
    url = server.report_url(kind, "m-1", "o-1")
    status, text, _ = await post(url, body, content_type or "application/x-www-form-urlencoded")
    assert (status, names in text) == (400, True), text
    assert not ledger.taken
    assert (await post_json(url, WIPE if kind == "wipe-report" else {}))[0] == 204


async def test_more_disks_than_a_machine_has_are_refused(
    server: MediaServer, ledger: Ledger
) -> None:
    disks = [{"serial": f"S{n}", "method": "x"} for n in range(257)]
    url = server.report_url("wipe-report", "m-1", "o-1")
    assert (await post_json(url, {"disks": disks}))[0] == 400
    assert (await post_json(url, {"disks": disks[:256]}))[0] == 204


@pytest.mark.parametrize(
    "trouble",
    [
        Unavailable("etcd is away", 2.5),
        Exhausted("etcd is out of space"),
        Conflict("moved"),
        TimeoutError(),
    ],
)
async def test_while_the_log_is_away_the_machine_is_told_to_try_again(
    server: MediaServer, ledger: Ledger, trouble: Exception
) -> None:
    url = server.report_url("phone-home", "m-1", "o-1")
    ledger.trouble = trouble
    status, text, headers = await post(url)
    assert (status, "etcd" in text) == (503, False)
    assert int(headers["Retry-After"]) >= 2
    ledger.trouble = None
    assert (await post(url))[0] == 204


async def test_a_token_has_a_small_allowance_that_others_do_not_share(
    server: MediaServer,
) -> None:
    url = server.report_url("phone-home", "m-1", "o-1")
    seen = [await post(url) for _ in range(BURST + 20)]
    assert {status for status, _, _ in seen[:BURST]} == {204, 410}
    assert any(status == 429 and headers["Retry-After"] == "1" for status, _, headers in seen)
    assert (await post(server.report_url("phone-home", "m-1", "o-2")))[0] == 204


def test_an_allowance_grows_back_with_time_and_not_beyond_its_size() -> None:
    now = 0.0
    allowance = Allowance(lambda: now)
    assert [allowance.take("t") for _ in range(BURST)] == [0.0] * BURST
    assert allowance.take("t") == 1.0
    now = 0.5
    assert allowance.take("t") == 0.5
    now = 1000.0
    assert [allowance.take("t") > 0 for _ in range(BURST + 1)] == [False] * BURST + [True]


async def test_two_reports_at_the_same_moment_are_taken_once(
    server: MediaServer, ledger: Ledger
) -> None:
    url = server.report_url("phone-home", "m-1", "o-1")
    seen: list[int] = []

    async def send() -> None:
        seen.append((await post(url))[0])

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(send)
    assert sorted(seen) == [204, 410, 410, 410]


async def test_reports_are_posted_and_nothing_else(server: MediaServer) -> None:
    url = server.report_url("phone-home", "m-1", "o-1")
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 405


async def test_a_server_that_nobody_listens_behind_takes_no_report(tmp_path: Path) -> None:
    async with MediaServer(tmp_path, secret=SECRET) as deaf:
        assert (await post(deaf.report_url("phone-home", "m-1", "o-1")))[0] == 404
