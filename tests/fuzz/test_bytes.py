"""Bytes that are not gRPC, nor HTTP/2: the connection ends, or is answered, and nothing else."""

import os
import random
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from hpack import Decoder, Encoder

from mulligan.proto import v1
from mulligan.services.gate.http2 import HANDSHAKE_S, MAX_STREAMS
from mulligan.services.serve import SERVICES
from mulligan.tls import client_context
from tests.fuzz.conftest import MESSAGES
from tests.fuzz.victim import Victim

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
SOON_S = 10.0
"""A peer is told, or cut off, so soon."""
LOGIN = "/mulligan.v1.Iam/Login"


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return (
        struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body
    )


GREETING = PREFACE + frame(SETTINGS, 0, 0, b"")


def head(path: str = LOGIN, *more: tuple[str, str], **changes: str | None) -> bytes:
    """Return the headers of a call, with some changed or (None) left out."""
    fields: dict[str, str | None] = {
        ":method": "POST",
        ":scheme": "https",
        ":path": path,
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    fields.update({name.replace("__", ":").replace("_", "-"): v for name, v in changes.items()})
    return bytes(Encoder().encode([*((k, v) for k, v in fields.items() if v is not None), *more]))


def opening(stream: int = 1, block: bytes | None = None, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, head() if block is None else block)


@asynccontextmanager
async def connected(victim: Victim, service: str = "iam") -> AsyncIterator[ByteStream]:
    config = victim.region.config
    address = getattr(config.listen, service)
    assert config.tls.ca is not None
    context = client_context(config.tls.ca)
    context.set_alpn_protocols(["h2"])
    tcp = await anyio.connect_tcp(address.host, address.port, local_host="127.0.0.3")
    async with tcp:
        yield await TLSStream.wrap(
            tcp, hostname=address.host, ssl_context=context, standard_compatible=False
        )


async def said(stream: ByteStream, within: float = SOON_S) -> tuple[bytes, bool]:
    """Return what the service says, and whether it then closed the connection."""
    heard = b""
    with anyio.move_on_after(within):
        try:
            while True:
                heard += await stream.receive()
                if len(heard) > 1_000_000:
                    return heard, False
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return heard, True
    return heard, False


def frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]
        data = data[9 + length :]


async def send(stream: ByteStream, data: bytes) -> None:
    """Send, if the other side still takes it."""
    try:
        with anyio.fail_after(SOON_S):
            await stream.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
        return


async def alive(victim: Victim) -> None:
    """Fail unless a call to every service is answered at once."""
    await victim.keep_calling()
    for service in (
        "iam",
        "meta",
        "resource",
        "control",
        "log",
        "projector",
        "executor",
        "archiver",
    ):
        began = time.monotonic()
        name = f"{service}.{service}_configure"
        await victim.edge.call(name, v1.ConfigureRequest(), victim.tokens["admin"], timeout=SOON_S)
        assert time.monotonic() - began < SOON_S


def encoded_bomb() -> bytes:
    """Return a header block that stands for far more than it has bytes: one entry, many times."""
    big = b"\x40\x01a" + b"\x7f\x80\x1e" + b"x" * (0x7F + 0xF00)
    return head() + big + b"\xbe" * 16_000


ENDED = {
    "nothing like HTTP/2": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": b"\0" * 10_000,
    "a frame too large": GREETING + b"\xff\xff\xff" + b"\0" * 6,
    "data on a stream that was not opened": GREETING + frame(DATA, 0, 1, b"x"),
    "a stream with an even number": GREETING + opening(2),
    "settings of an odd length": PREFACE + frame(SETTINGS, 0, 0, b"12345"),
    "settings with an impossible window": PREFACE
    + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**32 - 1)),
    "a ping of the wrong length": GREETING + frame(PING, 0, 0, b"1"),
    "a window that grows too far": GREETING + frame(WINDOW, 0, 0, struct.pack(">I", 2**31 - 1)) * 3,
    "a continuation of nothing": GREETING + frame(CONTINUATION, 4, 1, head()),
    "headers without their end, again": GREETING + opening(flags=0) + opening(3),
    "headers that do not decode": GREETING + opening(block=b"\xff" * 50),
    "headers that decode to too much": GREETING + opening(block=encoded_bomb()),
    "continuations without end": GREETING + opening(flags=0) + frame(CONTINUATION, 0, 1, b"") * 500,
    "a push": GREETING + frame(PUSH, 4, 1, struct.pack(">I", 2) + head()),
    "too many settings": PREFACE + frame(SETTINGS, 0, 0, b"") * 20_000,
    "too many pings": GREETING + frame(PING, 0, 0, b"12345678") * 20_000,
    "too many resets": GREETING
    + b"".join(opening(s) + frame(RST, 0, s, struct.pack(">I", 8)) for s in range(1, 30_000, 2)),
    "too many calls at once": GREETING + b"".join(opening(s) for s in range(1, 1200, 2)),
    "a goodbye": GREETING + frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)),
    "a frame of no known kind, often": GREETING + frame(77, 255, 0, b"?") * 20_000,
}


@pytest.mark.parametrize("case", ENDED)
async def test_what_is_not_http2_ends_its_connection(victim: Victim, case: str) -> None:
    async with connected(victim) as stream:
        await send(stream, ENDED[case])
        _, closed = await said(stream)
        assert closed
    await victim.edge.call("iam.who_am_i", v1.WhoAmIRequest(), victim.tokens["admin"])


REFUSED = {
    "no method": (head(__method=None), 12),
    "another method": (head(__method="GET"), 12),
    "no path": (head(__path=None), 12),
    "no such path": (head("/mulligan.v1.Iam/Nothing"), 12),
    "no content type": (head(content_type=None), 3),
    "another content type": (head(content_type="text/html"), 3),
    "no trailers": (head(te=None), 3),
    "a timeout that is none": (head(LOGIN, ("grpc-timeout", "soon")), 3),
    "a timeout with too many digits": (head(LOGIN, ("grpc-timeout", "9" * 5000 + "S")), 3),
    "a negative timeout": (head(LOGIN, ("grpc-timeout", "-1S")), 3),
    "no time at all": (head(LOGIN, ("grpc-timeout", "0n")), 4),
    "a compression": (head(LOGIN, ("grpc-encoding", "gzip")), 12),
    "a position that is none": (head(LOGIN, ("mulligan-position", "nowhere")), 3),
    "a position of another number": (head(LOGIN, ("mulligan-position", f"fuzz:{'9' * 5000}")), 3),
    "no token": (head("/mulligan.v1.Iam/WhoAmI"), 16),
    "a token with odd bytes": (
        head("/mulligan.v1.Iam/WhoAmI", ("authorization", "Bearer é\x01\xff")),
        16,
    ),
    "binary metadata that is not base64": (
        head("/mulligan.v1.Iam/WhoAmI", ("odd-bin", "!!!")),
        16,
    ),
}
BODIES = {
    "a message that is cut short": (b"\0\0\0\0\x10abc", 3),
    "half a prefix": (b"\0\0", 3),
    "no message": (b"", 3),
    "a compressed message": (b"\1\0\0\0\0", 3),
    "a message of four gigabytes": (b"\0\xff\xff\xff\xff" + b"x" * 100, 8),
    "two messages": (b"\0\0\0\0\0" * 2, 3),
    "a message that is none": (b"\0\0\0\0\x02\xff\xff", 3),
}


def status_of(heard: bytes) -> int | None:
    """Return the gRPC status in what was heard; None if there is none."""
    decoder = Decoder()
    found = None
    for kind, _, _, body in frames(heard):
        if kind == HEADERS:
            fields = dict(decoder.decode(body, raw=True))
            found = int(fields.get(b"grpc-status", b"-1"))
    return found


@pytest.mark.parametrize("case", REFUSED)
async def test_a_call_that_is_none_is_told_so(victim: Victim, case: str) -> None:
    block, status = REFUSED[case]
    async with connected(victim) as stream:
        await send(stream, GREETING + opening(block=block))
        await send(stream, frame(DATA, END_STREAM, 1, b"\0\0\0\0\0"))
        assert await answered(stream) == status


@pytest.mark.parametrize("case", BODIES)
async def test_a_message_that_is_none_is_told_so(victim: Victim, case: str) -> None:
    body, status = BODIES[case]
    async with connected(victim) as stream:
        await send(stream, GREETING + opening() + frame(DATA, END_STREAM, 1, body))
        assert await answered(stream) == status


async def answered(stream: ByteStream) -> int | None:
    """Return the status that the call gets."""
    heard = b""
    with anyio.fail_after(SOON_S):
        while (status := status_of(heard)) is None:
            heard += await stream.receive()
    return status


async def test_a_call_may_come_one_byte_at_a_time(victim: Victim) -> None:
    async with connected(victim) as stream:
        for byte in GREETING + opening() + frame(DATA, END_STREAM, 1, b"\0\0\0\0\0"):
            await send(stream, bytes([byte]))
        assert await answered(stream) == 16


async def test_crumbs_without_end_reset_the_stream(victim: Victim) -> None:
    async with connected(victim) as stream:
        await send(stream, GREETING + opening() + frame(DATA, 0, 1, b"") * 200)
        heard, _ = await said(stream, 1.0)
        assert RST in {kind for kind, *_ in frames(heard)}


async def test_whoever_only_connects_is_cut_off(victim: Victim) -> None:
    async with connected(victim) as silent, connected(victim) as slow:
        await send(slow, PREFACE[:10])
        for stream in (silent, slow):
            assert (await said(stream, HANDSHAKE_S + SOON_S))[1]


async def test_others_are_served_while_many_calls_hang(victim: Victim) -> None:
    """Calls that never bring their message hold back neither other callers nor other calls."""
    calls = GREETING + b"".join(opening(s) for s in range(1, MAX_STREAMS // 2, 2))
    async with connected(victim) as first, connected(victim) as second:
        for stream in (first, second):
            await send(stream, calls)
        await alive(victim)


async def test_random_bytes_harm_nothing(victim: Victim) -> None:
    rng = random.Random(os.environ.get("MULLIGAN_FUZZ_SEED", "1"))
    rounds = max(20, MESSAGES // 100)

    async def one() -> None:
        async with connected(victim, rng.choice(SERVICES)) as stream:
            await send(stream, mangled(rng))
            await said(stream, 0.05)

    for _ in range(rounds // 10):
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(one)
    await alive(victim)


def mangled(rng: random.Random) -> bytes:
    """Return a conversation with some of its bytes changed, or noise."""
    if rng.random() < 0.2:
        return rng.randbytes(rng.randrange(1, 2000))
    data = bytearray(GREETING)
    for stream in range(1, rng.randrange(3, 20), 2):
        data += opening(stream) + frame(DATA, rng.choice((0, 1)), stream, rng.randbytes(40))
        if rng.random() < 0.5:
            kind, flags = rng.randrange(12), rng.randrange(256)
            data += frame(kind, flags, rng.choice((0, stream)), rng.randbytes(rng.randrange(20)))
    for _ in range(rng.randrange(3)):
        data[rng.randrange(len(GREETING), len(data))] = rng.randrange(256)
    return bytes(data)


async def test_nothing_was_harmed(victim: Victim) -> None:
    await alive(victim)
    await victim.require_unharmed()
