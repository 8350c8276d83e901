"""Everything that goes over the loopback interface, searched while it goes by."""

import socket
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import closing
from typing import Self

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

_ALL_PROTOCOLS = 3
_TO_US = 0
_TCP = 6
_FORCED_BUFFER = 33
_BUFFER = 64 * 2**20
_FLOWS = 4096
_END = "the capture ends with these very words"
_SOL_PACKET, _STATISTICS = 263, 6

Flow = tuple[bytes, bytes, int, int]


def open_wire() -> socket.socket:
    """Return a socket that receives all packets of the loopback; raise OSError if not permitted."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PROTOCOLS))
    raw.bind(("lo", _ALL_PROTOCOLS))
    raw.setsockopt(socket.SOL_SOCKET, _FORCED_BUFFER, _BUFFER)
    return raw


def huffman(text: str) -> bytes:
    """Return what a header's value looks like in HTTP/2, without the last, padded byte."""
    coder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    return bytes(coder.encode(text.encode()))[:-1]


class Wire:
    """Searches TCP flows for needles as they pass, across packets; keeps only what was found."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.packets = 0
        self.bytes = 0
        self.dropped = 0
        self._needles: tuple[tuple[bytes, str], ...] = ()
        self._overlap = 0
        self._tails: OrderedDict[Flow, bytes] = OrderedDict()
        self._socket = open_wire()
        self._thread = threading.Thread(target=self._listen, name="wire", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        # Packets come in order: with this one, all that was sent before has been searched.
        self.look_for(_END, [_END.encode()])
        plain = socket.create_server(("127.0.0.1", 0))
        with plain, socket.create_connection(plain.getsockname()) as stream:
            stream.sendall(_END.encode())
            self._thread.join(60)
        self.found.discard(_END)
        assert not self._thread.is_alive()

    def look_for(self, what: str, forms: Iterable[bytes]) -> None:
        """Search what passes from now on for one thing, in any of its forms."""
        more = tuple((form, what) for form in forms)
        self._overlap = max(self._overlap, *(len(form) - 1 for form, _ in more))
        self._needles += more

    def _listen(self) -> None:
        buffer = bytearray(2**17)
        view = memoryview(buffer)
        with closing(self._socket) as raw:
            while _END not in self.found:
                size, sender = raw.recvfrom_into(buffer)
                if sender[2] == _TO_US:  # each packet passes twice: sent, and received
                    self._packet(view[:size])
            counted = raw.getsockopt(_SOL_PACKET, _STATISTICS, 8)
            self.dropped = struct.unpack("II", counted)[1]

    def _packet(self, packet: memoryview) -> None:
        parsed = _tcp(packet)
        if parsed is None:
            return
        flow, payload = parsed
        self.packets += 1
        self.bytes += len(payload)
        text = self._tails.pop(flow, b"") + payload
        self.found |= {what for needle, what in self._needles if needle in text}
        self._tails[flow] = text[-self._overlap :] if self._overlap else b""
        if len(self._tails) > _FLOWS:
            self._tails.popitem(last=False)


def _tcp(packet: memoryview) -> tuple[Flow, bytes] | None:
    """Return the flow and the payload of an IP packet, if it is TCP and has some."""
    version = packet[0] >> 4 if len(packet) > 40 else 0
    if version == 4 and packet[9] == _TCP:
        begin, addresses = (packet[0] & 15) * 4, (packet[12:16], packet[16:20])
    elif version == 6 and packet[6] == _TCP:
        begin, addresses = 40, (packet[8:24], packet[24:40])
    else:
        return None
    source, target = struct.unpack_from("!HH", packet, begin)
    payload = bytes(packet[begin + (packet[begin + 12] >> 4) * 4 :])
    flow = (bytes(addresses[0]), bytes(addresses[1]), source, target)
    return (flow, payload) if payload else None
