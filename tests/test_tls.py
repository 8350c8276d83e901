import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mulligan.tls import (
    KeyPair,
    TlsFiles,
    client_context,
    common_name,
    expires,
    fingerprint,
    issue,
    make_ca,
    read_pair,
    server_context,
    write_pair,
    write_private,
)

NOW = datetime.now(UTC)


def party(folder: Path, ca: KeyPair, name: str, pair: KeyPair) -> TlsFiles:
    files = TlsFiles(ca=folder / "ca.pem", cert=folder / f"{name}.pem", key=folder / f"{name}.key")
    files.ca.write_bytes(ca.cert)
    write_pair(pair, files.cert, files.key)
    return files


def handshake(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    host: str,
    *,
    outside: list[ssl.SSLObject] | None = None,
) -> ssl.SSLObject:
    """Let the two talk in memory; return the server's side, or raise what either side raises.

    The client's side is put into ``outside``.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    inside = server.wrap_bio(to_server, to_client, server_side=True)
    calling = client.wrap_bio(to_client, to_server, server_hostname=host)
    if outside is not None:
        outside.append(calling)
    waiting = [calling, inside]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
        if not waiting:
            return inside
    raise AssertionError("the handshake does not end")


@pytest.fixture(scope="module")
def ca() -> KeyPair:
    return make_ca("test")


@pytest.fixture
def server(tmp_path: Path, ca: KeyPair) -> TlsFiles:
    pair = issue(ca, "iam", dns=["localhost"], ips=["127.0.0.1", "::1"], server=True)
    return party(tmp_path, ca, "server", pair)


@pytest.fixture
def client(tmp_path: Path, ca: KeyPair) -> TlsFiles:
    return party(tmp_path, ca, "client", issue(ca, "svc-executor", client=True))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_both_sides_trust_each_other_and_speak_http2(
    server: TlsFiles, client: TlsFiles, host: str
) -> None:
    done = handshake(
        server_context(server, client_certs=True), client_context(client.ca, client), host
    )
    assert done.selected_alpn_protocol() == "h2"
    shown = done.getpeercert(binary_form=True)
    assert shown is not None
    assert fingerprint(shown) == fingerprint(client.cert.read_bytes())


def test_another_host_is_not_trusted(server: TlsFiles) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server_context(server), client_context(server.ca), "evil.example")


def test_a_client_without_a_certificate_is_served_only_where_that_is_allowed(
    server: TlsFiles,
) -> None:
    handshake(server_context(server), client_context(server.ca), "localhost")
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(server_context(server, client_certs=True), client_context(server.ca), "localhost")


def test_a_certificate_of_another_ca_is_refused_even_when_none_is_asked_for(
    tmp_path: Path, server: TlsFiles
) -> None:
    (tmp_path / "other").mkdir()
    foreign = make_ca("other")
    stranger = party(tmp_path / "other", foreign, "x", issue(foreign, "x", client=True))
    with pytest.raises(ssl.SSLError):
        handshake(server_context(server), client_context(server.ca, stranger), "localhost")


def test_a_client_s_certificate_does_not_make_a_server(tmp_path: Path, ca: KeyPair) -> None:
    posing = party(tmp_path, ca, "posing", issue(ca, "posing", dns=["localhost"], client=True))
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)purpose"):
        handshake(server_context(posing), client_context(posing.ca), "localhost")


def test_nothing_older_than_tls_1_2_is_spoken(server: TlsFiles) -> None:
    assert server_context(server).minimum_version == ssl.TLSVersion.TLSv1_2
    assert client_context(server.ca).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_leaf_holds_a_year_and_never_longer_than_its_ca() -> None:
    old = make_ca("old", now=NOW - timedelta(days=3640))
    assert expires(issue(old, "x", client=True).cert) == expires(old.cert)
    fresh = issue(make_ca("new", now=NOW), "x", client=True, now=NOW)
    assert timedelta(days=364) < expires(fresh.cert) - NOW <= timedelta(days=365)
    assert common_name(fresh.cert) == "x"


def test_a_certificate_without_a_role_or_a_server_without_a_name_is_not_issued(
    ca: KeyPair,
) -> None:
    with pytest.raises(ValueError, match="role"):
        issue(ca, "x")
    with pytest.raises(ValueError, match="DNS name or an address"):
        issue(ca, "x", server=True)


def test_keys_are_written_for_their_owner_alone_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_pair_is_read_back_and_its_repr_hides_the_key(tmp_path: Path, ca: KeyPair) -> None:
    write_pair(ca, tmp_path / "c", tmp_path / "k")
    assert read_pair(tmp_path / "c", tmp_path / "k") == ca
    assert "PRIVATE" not in repr(ca)
