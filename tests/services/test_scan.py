"""Looking for BMCs: every address is answered, whatever is or is not there."""

import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from grpclib import Status
from grpclib.exceptions import GRPCError

from mulligan.proto import v1
from mulligan.redfish.scan import scan as look_around
from mulligan.tls import fingerprint
from tests.services.conftest import Tokens
from tests.services.edge import Edge, Refusal, explained
from tests.services.test_machines_in_trouble import black_hole, closed_port
from tests.services.yard import Yard

PAGE = b"<html><title>It works!</title></html>"
NONE = "something answers that is no Redfish service"
ROOT = b'{"RedfishVersion": "1.17.0", "Vendor": "Contoso", "Product": "R1", "UUID": "92384634"}'


@contextmanager
def web_server(body: bytes, status: int = 200, **headers: str) -> Iterator[int]:
    """A server that answers every GET alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(5)


@contextmanager
def endless() -> Iterator[int]:
    """A server whose answer never ends."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                connection = server.accept()[0]
                with connection:
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    while not stopped.is_set():
                        connection.sendall(b"[" * 65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stopped.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


Scan = Callable[..., AsyncGenerator[v1.ScannedBmc, None]]


@pytest.fixture
async def scan(edge: Edge, tokens: Tokens) -> Scan:
    stub = v1.ExecutorStub(edge.channel("executor"))

    def ask(*addresses: str, token: str = tokens.admin, **more: object) -> object:
        asked = v1.ScanBmcsRequest(addresses=list(addresses), **more)  # type: ignore[arg-type]
        return stub.scan_bmcs(asked, metadata={"authorization": f"Bearer {token}"}, timeout=30)

    return ask  # type: ignore[return-value]


async def found(answers: AsyncIterator[v1.ScannedBmc]) -> dict[str, v1.ScannedBmc]:
    return {one.address: one async for one in answers}


async def refused(answers: AsyncIterator[v1.ScannedBmc]) -> Refusal:
    with pytest.raises(GRPCError) as raised:
        await found(answers)
    return explained(raised.value)


async def test_what_answers_as_a_bmc_is_told_from_what_does_not(scan: Scan) -> None:
    closed = closed_port()
    with web_server(PAGE) as page, web_server(ROOT) as bmc, web_server(b"", 503) as broken:
        answers = await found(
            scan(*(f"http://127.0.0.1:{port}" for port in (closed, page, bmc, broken)))
        )
    assert len(answers) == 4, "every address is answered"
    assert not answers[f"http://127.0.0.1:{closed}"].found
    assert answers[f"http://127.0.0.1:{closed}"].problem
    for port in (page, broken):
        one = answers[f"http://127.0.0.1:{port}"]
        assert (one.found, one.problem) == (False, NONE)
    one = answers[f"http://127.0.0.1:{bmc}"]
    assert one.found and not one.problem
    assert (one.vendor, one.product) == ("Contoso", "R1")
    assert (one.redfish_version, one.service_uuid) == ("1.17.0", "92384634")
    assert (one.fingerprint, one.machine) == ("", "")


async def test_a_redirect_is_not_followed(scan: Scan) -> None:
    with web_server(ROOT) as bmc:
        elsewhere = f"http://127.0.0.1:{bmc}/redfish/v1/"
        with web_server(b"", 302, Location=elsewhere) as astray:
            (one,) = (await found(scan(f"127.0.0.1:{astray}", insecure=True))).values()
    assert not one.found


async def test_a_listener_that_says_nothing_holds_up_no_other(scan: Scan) -> None:
    with black_hole() as mute, web_server(ROOT) as bmc:
        async with aclosing(scan(f"http://127.0.0.1:{mute}", f"http://127.0.0.1:{bmc}")) as answers:
            one = await anext(answers)
    assert (one.address, one.found) == (f"http://127.0.0.1:{bmc}", True)


async def test_a_listener_that_says_nothing_is_given_up() -> None:
    with black_hole() as port:
        (one,) = [found async for found in look_around([f"http://127.0.0.1:{port}"], limit=0.2)]
    assert one.problem == "no answer within 0.2 s"


async def test_an_endless_answer_is_not_read_to_its_end(scan: Scan) -> None:
    with endless() as port:
        (one,) = (await found(scan(f"http://127.0.0.1:{port}"))).values()
    assert (one.found, one.problem) == (False, NONE)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"RedfishVersion": ' + b"[" * 200_000,
        b"\xff\xfe",
        b"null",
        b'"text"',
        b"{}",
    ],
    ids=["deep", "deep inside", "no text", "null", "a string", "nothing"],
)
async def test_what_is_no_service_root_harms_no_scan(scan: Scan, body: bytes) -> None:
    with web_server(body) as port, web_server(ROOT) as bmc:
        answers = await found(scan(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{bmc}"))
    assert answers[f"http://127.0.0.1:{port}"].problem == NONE
    assert answers[f"http://127.0.0.1:{bmc}"].found


async def test_a_root_that_comes_in_pieces_is_read_whole(scan: Scan) -> None:
    with web_server(ROOT + b" " * 200_000) as port:
        (one,) = (await found(scan(f"http://127.0.0.1:{port}"))).values()
    assert one.found


async def test_old_firmware_names_its_vendor_by_what_is_its_own(scan: Scan) -> None:
    body = b'{"RedfishVersion": 1, "Systems": {"@odata.id": "/s"}, "Oem": {"Hp\\u0007e": {}}}'
    with web_server(body) as port:
        (one,) = (await found(scan(f"http://127.0.0.1:{port}"))).values()
    assert (one.found, one.vendor, one.redfish_version) == (True, "Hpe", "")


async def test_the_fleet_is_found_with_its_certificate_and_its_machine(
    scan: Scan, yard: Yard
) -> None:
    address = yard.fleet.emulator.address
    certificate = fingerprint(yard.fleet.certificate.read_bytes())
    (one,) = (await found(scan(address))).values()
    assert (one.address, one.found, one.fingerprint) == (address, True, certificate)
    assert one.machine == "", "its many systems are machines; the address alone is none"
    alone = v1.Bmc(address=address, credential="emulator", fingerprint=certificate)
    enrolling = v1.EnrollMachineRequest(name="scanned", bmc=alone)
    made = (await yard.admin.control.enroll_machine(enrolling)).machine
    assert made is not None
    (one,) = (await found(scan(address.removeprefix("https://")))).values()
    assert one.machine == made.uuid
    await yard.admin.control.delete_machine(v1.DeleteMachineRequest(machine="scanned"))
    (one,) = (await found(scan(address))).values()
    assert one.machine == ""


async def test_a_bmc_asked_in_the_wrong_scheme_is_none(scan: Scan, yard: Yard) -> None:
    plain = yard.fleet.emulator.address.replace("https://", "http://")
    with web_server(ROOT) as bmc:
        answers = await found(scan(plain, f"https://127.0.0.1:{bmc}"))
    assert [one.found for one in answers.values()] == [False, False]
    assert all(one.problem for one in answers.values())


async def test_a_network_is_expanded_and_each_address_asked_once(scan: Scan) -> None:
    with web_server(ROOT) as port:
        one = f"127.0.0.1:{port}"
        answers = await found(scan("127.0.0.1/32", one, f"http://{one}", port=port, insecure=True))
        assert list(answers) == [f"http://{one}"]
        assert answers[f"http://{one}"].found
        answers = await found(scan("127.0.0.0/30", port=port, insecure=True))
    assert sorted(answers) == [f"http://127.0.0.{n}:{port}" for n in (1, 2)]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "10.0.0.0/33",
        "10.0.0.0/8",
        "rack/1",
        "https://",
        "ftp://10.0.0.1",
        "https://10.0.0.1/redfish",
        "https://user:secret@10.0.0.1",
        "10.0.0.1:0",
        "10.0.0.1:66666",
        "10.0.0.1:https",
        "https://[::1",
        "10.0.0.1 10.0.0.2",
        "host\x00name",
        "https://host?query",
    ],
)
async def test_an_address_that_cannot_be_read_is_named(scan: Scan, address: str) -> None:
    refusal = await refused(scan("10.0.0.1", address))
    assert (refusal.status, refusal.fields) == (Status.INVALID_ARGUMENT, ("addresses[1]",))


@pytest.mark.parametrize(
    ("addresses", "more", "field"),
    [
        ((), {}, "addresses"),
        (("10.0.0.0/20", "10.1.0.0/28"), {}, "addresses"),
        (("10.0.0.1",), {"port": 65536}, "port"),
        (("10.0.0.1",), {"port": -1}, "port"),
    ],
)
async def test_a_scan_out_of_bounds_is_refused(
    scan: Scan, addresses: tuple[str, ...], more: dict[str, int], field: str
) -> None:
    refusal = await refused(scan(*addresses, **more))
    assert (refusal.status, refusal.fields) == (Status.INVALID_ARGUMENT, (field,))


async def test_scanning_is_for_operators(scan: Scan, tokens: Tokens) -> None:
    for token in (tokens.red, tokens.reader):
        assert (await refused(scan("127.0.0.1", token=token))).status is Status.PERMISSION_DENIED
