"""Servers whose certificates change while they run, and a CA that has a successor."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mulligan.tls import (
    KeyPair,
    TlsFiles,
    client_context,
    cross_sign,
    fingerprint,
    issue,
    make_ca,
    read_pair,
    web_context,
    write_pair,
)
from mulligan.tls_live import LiveContext
from tests.test_tls import handshake, party


def server_pair(ca: KeyPair, chain: bytes = b"") -> KeyPair:
    return issue(ca, "iam", dns=["localhost"], server=True, client=True, chain=chain)


def shown(live: LiveContext, client: ssl.SSLContext) -> str:
    """Return the fingerprint of what a new client is shown."""
    connection: list[ssl.SSLObject] = []
    handshake(live.context, client, "localhost", outside=connection)
    der = connection[0].getpeercert(binary_form=True)
    assert der is not None
    return fingerprint(der)


@pytest.fixture
def ca() -> KeyPair:
    return make_ca("test")


@pytest.fixture
def files(tmp_path: Path, ca: KeyPair) -> TlsFiles:
    return party(tmp_path, ca, "server", server_pair(ca))


def test_the_next_handshake_shows_the_certificate_that_was_renewed(
    files: TlsFiles, ca: KeyPair
) -> None:
    live, client = LiveContext(files), client_context(files.ca)
    before = shown(live, client)
    assert not live.reload()
    write_pair(server_pair(ca), files.cert, files.key)
    assert shown(live, client) == before
    assert live.reload()
    assert shown(live, client) == fingerprint(files.cert.read_bytes()) != before


def test_half_of_a_new_pair_is_left_alone_and_told_of_once(
    files: TlsFiles, ca: KeyPair, caplog: pytest.LogCaptureFixture
) -> None:
    live, client, renewed = LiveContext(files), client_context(files.ca), server_pair(ca)
    before = shown(live, client)
    files.key.write_bytes(renewed.key)
    assert not live.reload()
    assert not live.reload()
    assert shown(live, client) == before
    assert [r.getMessage() for r in caplog.records] == [
        "a new certificate cannot be used; the old one stays"
    ]
    files.cert.write_bytes(renewed.cert)
    assert live.reload()
    assert shown(live, client) == fingerprint(renewed.cert)


def test_files_that_went_away_or_are_cut_off_change_nothing(files: TlsFiles) -> None:
    live, client = LiveContext(files), client_context(files.ca)
    before = shown(live, client)
    files.cert.write_bytes(files.cert.read_bytes()[:200])
    assert not live.reload()
    files.cert.unlink()
    assert not live.reload()
    assert shown(live, client) == before


def test_a_ca_that_is_trusted_no_more_is_not_trusted_from_the_next_handshake_on(
    files: TlsFiles, ca: KeyPair, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    stranger = party(tmp_path / "old", ca, "client", issue(ca, "svc", client=True))
    live = LiveContext(files)
    handshake(live.context, client_context(stranger.ca, stranger), "localhost")
    other = make_ca("other")
    party(tmp_path, other, "server", server_pair(other))
    assert live.reload()
    trusting = client_context(files.ca, stranger)
    with pytest.raises(ssl.SSLError):
        handshake(live.context, trusting, "localhost")


def test_a_connection_is_not_taken_up_again_by_a_ticket(files: TlsFiles) -> None:
    live = LiveContext(files)
    connection: list[ssl.SSLObject] = []
    handshake(live.context, client_context(files.ca), "localhost", outside=connection)
    session = connection[0].session
    assert session is None or not session.has_ticket


def test_while_a_ca_changes_clients_of_the_old_and_of_the_new_one_are_both_served(
    tmp_path: Path, ca: KeyPair
) -> None:
    new = make_ca("test")
    crossed = cross_sign(ca, new)
    folders = {name: tmp_path / name for name in ("old", "new", "both")}
    for name, folder in folders.items():
        folder.mkdir()
        trusted = {"old": ca.cert, "new": new.cert, "both": new.cert + ca.cert}[name]
        (folder / "ca.pem").write_bytes(trusted)
    server = TlsFiles(ca=folders["both"] / "ca.pem", cert=tmp_path / "s.pem", key=tmp_path / "s.k")
    write_pair(server_pair(new, crossed), server.cert, server.key)
    live = LiveContext(server)
    for known, client in (("old", ca), ("new", new), ("both", new)):
        pair = issue(client, "ada", client=True, chain=crossed if client is new else b"")
        cert, key = folders[known] / "c.pem", folders[known] / "c.key"
        write_pair(pair, cert, key)
        identity = TlsFiles(ca=folders[known] / "ca.pem", cert=cert, key=key)
        handshake(live.context, client_context(identity.ca, identity), "localhost")


def test_a_successor_s_certificate_vouches_for_no_third_ca(tmp_path: Path, ca: KeyPair) -> None:
    new, third = make_ca("test"), make_ca("other")
    chain = cross_sign(new, third) + cross_sign(ca, new)
    files = party(tmp_path, ca, "server", server_pair(third, chain))
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)path length|invalid CA"):
        handshake(LiveContext(files).context, client_context(files.ca), "localhost")


def test_what_has_expired_is_refused_in_both_directions(tmp_path: Path, ca: KeyPair) -> None:
    past = datetime.now(UTC) - timedelta(days=400)
    (tmp_path / "x").mkdir()
    fresh = party(tmp_path, ca, "server", server_pair(ca))
    pair = issue(ca, "iam", dns=["localhost"], server=True, client=True, now=past)
    stale = party(tmp_path / "x", ca, "stale", pair)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(LiveContext(stale).context, client_context(fresh.ca), "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(LiveContext(fresh).context, client_context(fresh.ca, stale), "localhost")


def test_a_web_server_asks_for_no_certificate_and_speaks_http_1(files: TlsFiles) -> None:
    live = LiveContext(files, web_context)
    client = ssl.create_default_context(cafile=str(files.ca))
    client.set_alpn_protocols(["h2", "http/1.1"])
    assert handshake(live.context, client, "localhost").selected_alpn_protocol() == "http/1.1"
    assert read_pair(files.cert, files.key).cert == files.cert.read_bytes()
