"""The executor's rules on logging in, sessions, lock-outs and TLS."""

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from mulligan.events.machine import Bmc
from mulligan.model import CredentialId
from mulligan.redfish.bmc import BmcClient, Login
from mulligan.redfish.digests import recording
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.first_contact import certificate_fingerprint
from mulligan.redfish.transport import tls_context
from tests.bmc_faults.access import Lockout, Sessions, Unauthorized
from tests.bmc_faults.answers import Refuse
from tests.bmc_faults.proxy import FaultProxy
from tests.bmc_faults.timing import Drop, Hang
from tests.redfish.certificates import self_signed
from tests.redfish.conftest import QUICK, Connect, Faulty
from tests.redfish.scripted_bmc import RESET, SESSIONS, SYSTEM, ScriptedBmc, status
from tests.redfish.test_rules import run

ON = {"ResetType": "On"}


# -- sessions --------------------------------------------------------------------------------


async def test_one_session_serves_all_and_is_deleted_at_the_end(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(Sessions(limit=1))
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(client.system)
    assert bmc.count("POST", SESSIONS) == 1
    await client.close()
    assert not bmc.tokens
    assert (await faulty(Sessions(limit=1)).system()).status == 200


async def test_a_session_lost_in_deleting_does_not_hold_up_the_end(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(Hang(method="DELETE"))
    await client.system()
    start = time.monotonic()
    await client.close()
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("code", "message_id"),
    [
        (503, "SessionLimitExceeded"),
        (403, "SessionLimitExceeded"),
        (401, "CreateLimitReachedForResource"),
        (400, "CreateLimitReachedForResource"),
    ],
)
async def test_a_bmc_without_a_free_session_is_asked_by_basic_and_it_is_noted_once(
    bmc: ScriptedBmc, faulty: Faulty, code: int, message_id: str
) -> None:
    client = faulty(Sessions(limit=0, status=code, message_id=message_id))
    with recording() as record:
        await client.system()
        await client.post(RESET, ON)
    assert bmc.power == "On"
    assert [n for n in record.notes if "HTTP basic" in n] == [
        "the BMC offers no session: HTTP basic is used"
    ]


async def test_a_session_is_asked_for_again_after_a_while(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    client = faulty(
        Refuse(method="POST", path=SESSIONS, times=2), timings=replace(QUICK, session_again=0.1)
    )
    with recording() as record:
        for _ in range(2):
            await client.system()
            await client.system()
            await anyio.sleep(0.12)
        await client.system()
    assert len(proxy.injected("refuse")) == 2
    assert len(bmc.tokens) == 1
    assert [n for n in record.notes if "basic" in n] == [
        "the BMC offers no session: HTTP basic is used",
        "the BMC gives sessions again: HTTP basic is no longer used",
    ]
    await client.close()
    assert not bmc.tokens


async def test_a_bmc_that_gave_sessions_and_has_none_at_present_is_not_asked_by_basic(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    client = faulty()
    await client.system()
    bmc.tokens.clear()
    proxy.use(Refuse(method="POST", path=SESSIONS, times=1))
    with recording() as record:
        assert (await client.system()).status == 200
    assert len(proxy.injected("refuse")) == 1
    assert len(bmc.tokens) == 1
    assert not [n for n in record.notes if "basic" in n]
    await client.close()


async def test_a_bmc_without_a_session_service_is_not_asked_for_one_again(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    bmc.sessions = False
    client = faulty(timings=replace(QUICK, session_again=0.0))
    for _ in range(3):
        await client.system()
    assert bmc.count("POST", SESSIONS) == 0


async def test_a_session_named_under_another_host_is_deleted_on_the_bmc(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    async def renamed(request: Any, proceed: Any) -> Any:
        response = await proceed()
        response.headers["Location"] = "https://bmc.example" + response.headers["Location"]
        return response

    bmc.script("POST", SESSIONS, renamed)
    await client.system()
    await client.close()
    assert not bmc.tokens


# -- 401 -------------------------------------------------------------------------------------


async def test_a_valid_token_refused_once_is_renewed_and_leaves_no_session_behind(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    client = faulty(Unauthorized(path=SYSTEM, after=1))
    await client.system()
    await client.system()
    assert len(proxy.injected("unauthorized")) == 1
    assert bmc.count("POST", SESSIONS) == 2
    assert len(bmc.tokens) == 1


async def test_a_write_under_an_expired_session_is_sent_again_and_applied_once(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty()
    await client.system()
    bmc.tokens.clear()
    await client.post(RESET, ON)
    assert [path for path, _ in bmc.sent] == [RESET]


async def test_basic_refused_once_is_tried_again(bmc: ScriptedBmc, faulty: Faulty) -> None:
    bmc.sessions = False
    client = faulty(Unauthorized(path=SYSTEM, after=1))
    await client.system()
    assert (await client.system()).status == 200


async def test_a_bmc_that_refuses_the_session_it_just_gave_is_not_taken_for_a_wrong_password(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(Unauthorized(path=SYSTEM, times=0), system="one")
    for _ in range(3):
        seen = await run(client, "check")
        assert (seen.outcome, seen.fault) == ("retry", "server-error")
        assert "gave a session" in seen.message
    assert len(bmc.tokens) == 1


# -- lock-outs -------------------------------------------------------------------------------


@pytest.mark.parametrize("sessions", [True, False])
async def test_logins_stop_before_the_account_is_locked(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty, sessions: bool
) -> None:
    bmc.sessions = sessions
    client = faulty(Lockout(failures=3), password="wrong", system="one")
    for _ in range(4):
        seen = await run(client, "check")
        assert (seen.outcome, seen.fault) == ("fatal", "bad-credentials")
    assert "no more are tried" in (await run(client, "check")).message
    assert not proxy.injected("lockout")


async def test_the_breaker_is_reset_by_hand_and_by_nothing_else(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    client = faulty(Lockout(failures=2, seconds=0.3))
    proxy.use(Refuse(method="POST", path=SESSIONS, status=401, times=2))
    for _ in range(3):
        await run(client, "check")
    assert len(proxy.injected("refuse")) == 2
    assert (await run(client, "check")).fault == "bad-credentials"
    assert bmc.count("POST", SESSIONS) == 0
    client.reset_breaker()
    assert (await run(client, "check")).outcome == "done"


async def test_errors_of_a_bmc_do_not_count_as_a_good_login(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    bmc.sessions = False
    client = faulty(
        Lockout(failures=3), Refuse(path=SYSTEM, after=1, times=2), password="wrong", system="one"
    )
    for _ in range(5):
        await run(client, "check")
    assert not proxy.injected("lockout")


async def test_a_login_that_is_lost_is_no_refusal(proxy: FaultProxy, faulty: Faulty) -> None:
    client = faulty(Drop(path=SESSIONS, method="POST"))
    for _ in range(3):
        assert (await run(client, "check")).fault == "dropped"
    proxy.use()
    assert (await run(client, "check")).outcome == "done"


async def test_a_password_that_must_be_changed_is_said_so(bmc: ScriptedBmc, faulty: Faulty) -> None:
    rule = Refuse(path=SESSIONS, status=403, message_id="PasswordChangeRequired")
    seen = await run(faulty(rule), "check")
    assert (seen.outcome, seen.fault) == ("fatal", "bad-credentials")
    assert "changed before use" in seen.message


# -- TLS -------------------------------------------------------------------------------------


@pytest.fixture
async def over_tls(bmc: ScriptedBmc, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    pem, key = self_signed(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem, key)
    async with FaultProxy(bmc.address, one_bmc="one", tls=tls) as proxy:
        yield proxy


async def by_tls(proxy: FaultProxy, *, ca_file: str | None = None, **bmc: Any) -> str:
    """Return the fault of a check, empty when it went well."""
    client = BmcClient(
        Bmc(address=proxy.address, credential=CredentialId("lab"), **bmc),
        Login("admin", "s3cret-Passw0rd"),
        limiter=anyio.CapacityLimiter(4),
        timings=QUICK,
        ca_file=ca_file,
    )
    try:
        return (await run(client, "check")).fault
    finally:
        await client.close()


async def test_without_an_authority_of_its_own_a_bmc_is_trusted_as_the_host_trusts(
    over_tls: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    tls_context.cache_clear()
    try:
        assert await by_tls(over_tls) == ""
    finally:
        tls_context.cache_clear()


async def test_tls_is_checked_by_authority_by_pin_or_not_at_all(
    bmc: ScriptedBmc, over_tls: FaultProxy, tmp_path: Path
) -> None:
    assert await by_tls(over_tls) == "tls"
    assert not bmc.log, "nothing is sent before the certificate is checked"
    assert await by_tls(over_tls, ca_file=str(tmp_path / "cert.pem")) == ""
    assert await by_tls(over_tls, verify=False) == ""
    pin = await certificate_fingerprint(over_tls.address)
    assert await by_tls(over_tls, fingerprint=pin) == ""
    assert await by_tls(over_tls, fingerprint=pin, verify=False) == ""
    assert await by_tls(over_tls, fingerprint="0" * 64) == "tls"
    assert await by_tls(over_tls, fingerprint="0" * 64, verify=False) == "tls"


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("https://127.0.0.1:9", "unreachable"),
        ("http://127.0.0.1:9", "bad-params"),
        ("https://127.0.0.1:99999", "bad-params"),
        ("https://[bad", "bad-params"),
        ("", "bad-params"),
    ],
)
async def test_a_first_contact_that_fails_says_why(address: str, fault: str) -> None:
    with pytest.raises(BmcFault) as caught:
        await certificate_fingerprint(address)
    assert caught.value.fault == fault


async def test_a_first_contact_with_what_speaks_no_tls_is_a_fault(bmc: ScriptedBmc) -> None:
    with pytest.raises(BmcFault) as caught:
        await certificate_fingerprint(bmc.address.replace("http:", "https:"))
    assert caught.value.fault == "tls"


@pytest.mark.parametrize("says", [b"", b"\x16\x03\x03\x40\x00"])
async def test_a_first_contact_that_hangs_ends_at_its_deadline(says: bytes) -> None:
    async def half_a_handshake(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(says or b"\x16")
            await anyio.sleep(5)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, half_a_handshake)
        start = time.monotonic()
        with pytest.raises(BmcFault) as caught:
            await certificate_fingerprint(f"https://127.0.0.1:{port}", limit=0.2)
        assert (caught.value.fault, time.monotonic() - start < 2) == ("timeout", True)
        group.cancel_scope.cancel()
    await listener.aclose()


async def test_a_connection_that_is_refused_a_login_by_a_503_falls_back(
    bmc: ScriptedBmc, connect: Connect
) -> None:
    bmc.script("POST", SESSIONS, status(503, "busy"))
    assert (await connect().system()).status == 200
