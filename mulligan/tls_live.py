"""TLS of a server whose certificate, key and CA are renewed while it runs.

Each new handshake goes by the newest files that fit together. Connections that are open stay.
"""

import logging
import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from mulligan.tls import TlsFiles, server_context

POLL_S = 10.0
"""Seconds between looks at the files."""

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int] | None, ...]


def stamp_of(paths: Sequence[Path | str]) -> Stamp:
    """Return what changes whenever one of the files is replaced, appears or goes."""
    return tuple(_stamp(path) for path in paths)


def _stamp(path: Path | str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


class LiveContext:
    """A server's context, ``context``, that follows its files.

    Files that do not fit together, such as half of a new pair, are left alone and told of in the
    log; the server goes on with what it has. ``make`` turns the files into a context.
    """

    def __init__(
        self, files: TlsFiles, make: Callable[[TlsFiles], ssl.SSLContext] = server_context
    ) -> None:
        self._files = files
        self._make = make
        self._seen = self._complained = self._stamp()
        self._newest = self.context = make(files)
        # Tickets would let a client go on by a certificate that the newest files do not trust.
        self.context.num_tickets = 0
        self.context.options |= ssl.OP_NO_TICKET
        self.context.sni_callback = self._choose

    def reload(self) -> bool:
        """Go by the files as they are now; tell whether they changed and could be used."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        try:
            newest = self._make(self._files)
        except (OSError, ValueError) as error:
            if stamp != self._complained:
                self._complained = stamp
                reason = {"certificate": str(self._files.cert), "reason": str(error)}
                log.warning("a new certificate cannot be used; the old one stays", extra=reason)
            return False
        self._newest, self._seen = newest, stamp
        log.info("a new certificate is in use", extra={"certificate": str(self._files.cert)})
        return True

    async def keep_current(self, every: float = POLL_S) -> None:
        """Reload whenever the files change; looks each ``every`` seconds, for ever."""
        while True:
            await anyio.sleep(every)
            self.reload()

    def _stamp(self) -> Stamp:
        return stamp_of((self._files.ca, self._files.cert, self._files.key))

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _asked: ssl.SSLContext
    ) -> None:
        connection.context = self._newest
