"""The doorbell of the read models: one listening connection, shared by all that wait."""

import anyio
import asyncpg

from mulligan.projections.postgres import CHANNEL, LOST

_CONNECT_S = 3.0


class Bell:
    """Rings when the projection worker has committed. A lost connection is made again when needed;
    without one it never rings, so those who wait look now and then by themselves.
    """

    def __init__(self, dsn: str, settings: dict[str, str]) -> None:
        self._dsn = dsn
        self._settings = settings
        self._rung = anyio.Event()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._opening = anyio.Lock()

    async def armed(self) -> anyio.Event:
        """Return what is set at the next commit from now on."""
        async with self._opening:
            if self._connection is None or self._connection.is_closed():
                try:
                    self._connection = await asyncpg.connect(
                        self._dsn, timeout=_CONNECT_S, server_settings=self._settings
                    )
                    await self._connection.add_listener(CHANNEL, self._ring)
                except LOST:
                    self._connection = None
        return self._rung

    def close(self) -> None:
        """Stop listening."""
        if self._connection is not None:
            self._connection.terminate()

    def _ring(self, *_notification: object) -> None:
        self._rung.set()
        self._rung = anyio.Event()
