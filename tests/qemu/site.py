"""A web server for the machine and its BMC: it serves images, and takes what the machine posts."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue

import msgspec


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A POST."""

    path: str
    content_type: str
    body: bytes


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A running server on this machine's loopback: its port, and who has called."""

    port: int
    calls: "SimpleQueue[Call]"


@contextmanager
def site(files: Mapping[str, bytes]) -> Iterator[Site]:
    """Serve ``files``, by path, while the block runs; they may change meanwhile."""
    calls: SimpleQueue[Call] = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            calls.put(Call(path=self.path, content_type=self.headers["Content-Type"], body=body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Site(port=server.server_address[1], calls=calls)
        finally:
            server.shutdown()
            thread.join()
