"""Links to etcd and Postgres, and every port of a running region, on a hostile network."""

import ssl
import warnings
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from mulligan.config import Address, load
from mulligan.embedded.certificates import Certificates
from mulligan.embedded.etcd import EmbeddedEtcd
from mulligan.embedded.postgres import EmbeddedPostgres
from mulligan.embedded.region import RegionPaths, embedded_etcd, init_region
from mulligan.errors import Unavailable
from mulligan.log.etcd import Etcd, EtcdSettings
from mulligan.projections.postgres import connected
from mulligan.queries.database import Database
from mulligan.services.serve import SERVICES
from mulligan.tls import (
    TlsFiles,
    certificates_in,
    issue,
    make_ca,
    read_pair,
    server_context,
    write_pair,
)
from mulligan.tls_live import LiveContext
from tests.e2e.region import RunningRegion
from tests.services.postgres_front import postgres_front

LONG_AGO = datetime.now(UTC) - timedelta(days=400)


def client_of(region: RunningRegion, newest: ssl.TLSVersion) -> ssl.SSLContext:
    """A client of the region that speaks nothing newer than a version, and asks for no proof."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    files = region.paths.tls("service")
    context.load_cert_chain(files.cert, files.key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # which is why we ask
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = newest
    return context


def listening(region: RunningRegion) -> list[Address]:
    """Return every address that a region listens on."""
    config = region.config
    services = [getattr(config.listen, name) for name in SERVICES]
    return [*services, config.media.listen, *config.etcd.endpoints]


async def test_no_port_of_a_region_speaks_an_old_tls(region: RunningRegion) -> None:
    old, sound = (client_of(region, v) for v in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2))
    for address in listening(region):
        async with await anyio.connect_tcp(
            address.host, address.port, ssl_context=sound, tls_standard_compatible=False
        ):
            pass
        with pytest.raises((ssl.SSLError, anyio.BrokenResourceError)):
            await anyio.connect_tcp(address.host, address.port, ssl_context=old)


async def test_no_port_of_a_region_speaks_plain_text(region: RunningRegion) -> None:
    said = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for address in listening(region):
        async with await anyio.connect_tcp(address.host, address.port) as stream:
            await stream.send(said)
            heard = b""
            try:
                with anyio.fail_after(10):
                    while part := await stream.receive():
                        heard += part
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
        # etcd answers 400 and that this is for HTTPS; all others say nothing but a TLS alert.
        assert not heard or heard[:1] == b"\x15" or heard.startswith(b"HTTP/1.0 400"), heard


# -- etcd ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> RegionPaths:
    return init_region(tmp_path_factory.mktemp("links") / "region", "lab", usual_ports=False)


@pytest.fixture(scope="module")
def etcd(home: RegionPaths) -> Iterator[EmbeddedEtcd]:
    running = embedded_etcd(load(home.config, {}))
    running.start()
    yield running
    running.stop()


def settings(etcd: EmbeddedEtcd, files: TlsFiles) -> EtcdSettings:
    return EtcdSettings(
        endpoints=(str(etcd.address),), ca=str(files.ca), cert=str(files.cert), key=str(files.key)
    )


def strangers(home: RegionPaths, folder: Path) -> dict[str, TlsFiles]:
    """Return the files of those who must not come in, by what is wrong with them."""
    services = ["services.lab.mulligan"]
    ours, theirs = read_pair(home.tls("ca").cert, home.tls("ca").key), make_ca("lab.mulligan")
    pairs = {
        "of another CA": issue(theirs, "service.lab.mulligan", dns=services, client=True),
        "expired": issue(ours, "x", dns=services, client=True, now=LONG_AGO),
        "of an account": issue(ours, "service.lab.mulligan", client=True),
        "for servers only": issue(ours, "x", dns=services, server=True),
    }
    found = {}
    for name, pair in pairs.items():
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        write_pair(pair, cert, key)
        found[name] = TlsFiles(ca=home.tls("ca").ca, cert=cert, key=key)
    return found


async def test_etcd_takes_no_client_without_a_certificate_that_holds(
    etcd: EmbeddedEtcd, home: RegionPaths, tmp_path: Path
) -> None:
    async with Etcd(settings(etcd, home.tls("service"))) as ours:
        await ours.put("k", b"v")
    for wrong, files in strangers(home, tmp_path).items():
        async with Etcd(settings(etcd, files)) as stranger:
            with pytest.raises(Unavailable, match="cannot be reached"):
                await stranger.get("k")
                pytest.fail(f"etcd served a certificate {wrong}")


async def test_an_etcd_of_another_ca_is_not_talked_to(
    etcd: EmbeddedEtcd, home: RegionPaths, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(make_ca("lab.mulligan").cert)
    files = home.tls("service")
    posing = TlsFiles(ca=tmp_path / "ca.pem", cert=files.cert, key=files.key)
    async with Etcd(settings(etcd, posing)) as client:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await client.get("k")


async def test_a_new_ca_is_believed_by_an_etcd_that_knows_only_the_old_one(
    etcd: EmbeddedEtcd, home: RegionPaths, tmp_path: Path
) -> None:
    old = tmp_path / "old.pem"
    old.write_bytes(certificates_in(home.tls("ca").cert.read_bytes())[0])
    files = home.tls("service")
    async with Etcd(settings(etcd, files)) as connected_before:
        await connected_before.get("k")
        Certificates(home.state_dir).renew_ca("lab")
        await connected_before.get("k")
        async with Etcd(settings(etcd, files)) as by_the_new_one:
            await by_the_new_one.get("k")
        # Etcd shows its new certificate already, to one who knows the old CA.
        slow = TlsFiles(ca=old, cert=files.cert, key=files.key)
        async with Etcd(settings(etcd, slow)) as behind:
            await behind.get("k")
        etcd.restart()
        Certificates(home.state_dir).finish_ca()
        etcd.restart()
        with anyio.fail_after(10):
            while True:
                try:
                    await connected_before.get("k")
                    break
                except Unavailable:
                    await anyio.sleep(0.1)
    async with Etcd(settings(etcd, slow)) as too_late:
        with pytest.raises(Unavailable):
            await too_late.get("k")


# -- Postgres --------------------------------------------------------------------------------


class Place:
    """A real Postgres behind TLS, with the certificate in ``files``."""

    def __init__(self, port: int, files: TlsFiles, live: LiveContext) -> None:
        self.port = port
        self.files = files
        self.live = live

    def dsn(self, ca: Path, host: str = "127.0.0.1", *, ours: bool = True) -> str:
        cert = f"&sslcert={self.files.cert}&sslkey={self.files.key}" if ours else ""
        query = f"sslmode=verify-full&sslrootcert={ca}{cert}"
        return f"postgresql://postgres@{host}:{self.port}/postgres?{query}"


def demanding(files: TlsFiles) -> ssl.SSLContext:
    context = server_context(files, client_certs=True)
    context.set_alpn_protocols(["postgresql"])
    return context


@pytest.fixture
async def served(tmp_path: Path, postgres_server: EmbeddedPostgres) -> AsyncIterator[Place]:
    ca = make_ca("db")
    files = TlsFiles(ca=tmp_path / "ca.pem", cert=tmp_path / "p.pem", key=tmp_path / "p.key")
    files.ca.write_bytes(ca.cert)
    write_pair(
        issue(ca, "postgres", ips=["127.0.0.1"], server=True, client=True), files.cert, files.key
    )
    live = LiveContext(files, demanding)
    socket = postgres_server.socket_dir / ".s.PGSQL.5432"
    async with postgres_front(socket, live.context) as port:
        yield Place(port, files, live)


async def test_readers_and_writers_reach_postgres_by_mutual_tls(served: Place) -> None:
    dsn = served.dsn(served.files.ca)
    async with Database(dsn) as database:
        assert (await database.fetch("SELECT 1 AS one"))[0]["one"] == 1
    async with connected(dsn) as connection:
        assert await connection.fetchval("SELECT 2") == 2


async def test_a_postgres_that_cannot_prove_itself_is_refused(
    served: Place, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(make_ca("db").cert)
    for dsn in (served.dsn(other), served.dsn(served.files.ca, "localhost")):
        async with Database(dsn) as database:
            with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await database.fetch("SELECT 1")


async def test_postgres_takes_nobody_without_a_certificate(served: Place) -> None:
    async with Database(served.dsn(served.files.ca, ours=False)) as database:
        with pytest.raises(Unavailable):
            await database.fetch("SELECT 1")


async def test_a_postgres_that_does_not_take_us_is_away_with_its_reason(
    postgres_server: EmbeddedPostgres,
) -> None:
    stranger = postgres_server.dsn().replace("postgres@", "stranger@")
    async with Database(stranger) as database:
        with pytest.raises(Unavailable, match='role "stranger" does not exist'):
            await database.fetch("SELECT 1")


async def test_the_next_connection_to_postgres_goes_by_renewed_files(served: Place) -> None:
    ca = make_ca("db")
    async with Database(served.dsn(served.files.ca)) as database:
        await database.fetch("SELECT 1")
        served.files.ca.write_bytes(ca.cert)
        pair = issue(ca, "postgres", ips=["127.0.0.1"], server=True, client=True)
        write_pair(pair, served.files.cert, served.files.key)
        assert served.live.reload()
        with pytest.raises(Unavailable):
            await database.fetch("SELECT pg_terminate_backend(pg_backend_pid())")
        assert (await database.fetch("SELECT 3 AS three"))[0]["three"] == 3
