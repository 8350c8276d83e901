"""Tells systemd how a service stands (``sd_notify``), where systemd started it."""

import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)


class ServiceManager:
    """The manager that listens at ``NOTIFY_SOCKET``, if there is one; each state is told once."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._told = ""

    def serving(self) -> None:
        """Say that calls are answered."""
        self._tell("READY=1\nSTATUS=serving")

    def waiting(self, reason: str) -> None:
        """Say what the service waits for, in one line."""
        self._tell(f"STATUS=waiting for {' '.join(reason.split())[:200]}")

    def stopping(self) -> None:
        """Say that it has been told to stop, and finishes what is in flight."""
        self._tell("STOPPING=1\nSTATUS=draining")

    def _tell(self, state: str) -> None:
        if not self._address or state == self._told:
            return
        self._told = state
        address = self._address
        if address.startswith("@"):  # a name in Linux's abstract space
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(state.encode(), address)
        except OSError as error:
            log.warning("systemd cannot be told", extra={"reason": str(error)})
