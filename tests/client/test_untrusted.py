"""What a client says of a control plane that it must not talk to, at once and in plain words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from grpclib.server import Server

from mulligan.client.client import Client
from mulligan.client.context import Context
from mulligan.client.status import Untrusted
from mulligan.tls import TlsFiles, issue, make_ca, server_context, write_pair
from tests.client.fakes import SECRET, FakeCatalog, FakeRegion, listen_locally

CA, OTHER = make_ca("ours"), make_ca("theirs")
LONG_AGO = datetime.now(UTC) - timedelta(days=400)


@asynccontextmanager
async def serving(tls: TlsFiles | None) -> AsyncIterator[str]:
    """Serve a region's catalog, in plain text without files; yield its address."""
    listener = listen_locally()
    server = Server([FakeCatalog(FakeRegion())])
    await server.start(sock=listener, ssl=server_context(tls) if tls else None)
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    server.close()
    await server.wait_closed()


async def refusal(address: str, ca: Path) -> str:
    context = Context(address=(address,), ca=str(ca), account="ada")
    async with Client(context, secret=SECRET, patience=30) as client:
        with pytest.raises(Untrusted) as caught:
            await client.iam.who_am_i()
    return caught.value.message


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    (tmp_path / "ca.pem").write_bytes(CA.cert)
    return TlsFiles(ca=tmp_path / "ca.pem", cert=tmp_path / "s.pem", key=tmp_path / "s.key")


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (issue(OTHER, "x", ips=["127.0.0.1"], server=True), "unable to get local issuer"),
        (issue(CA, "x", ips=["127.0.0.9"], server=True), "IP address mismatch"),
        (issue(CA, "x", ips=["127.0.0.1"], server=True, now=LONG_AGO), "has expired"),
        (issue(CA, "x", ips=["127.0.0.1"], client=True), "purpose"),
    ],
    ids=["of another CA", "of another host", "expired", "of a client"],
)
async def test_a_server_s_certificate_is_refused(tls: TlsFiles, pair: object, said: str) -> None:
    write_pair(pair, tls.cert, tls.key)  # type: ignore[arg-type]
    async with serving(tls) as address:
        message = await refusal(address, tls.ca)
    assert f"the certificate of {address} is not trusted" in message
    assert said in message


async def test_a_server_in_plain_text_is_not_taken_for_one_with_tls(tls: TlsFiles) -> None:
    async with serving(None) as address:
        message = await refusal(address, tls.ca)
    assert message.startswith(f"no TLS with {address}: it speaks plain text")
