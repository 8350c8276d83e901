"""How long to wait between two attempts: jittered, growing, bounded by the caller's deadline."""

import random
import time
from collections.abc import Callable

FIRST = 0.05
GROWTH = 2.0
LONGEST = 2.0


class Backoff:
    """The waits of one call. ``patience`` is how many seconds it may take altogether."""

    def __init__(
        self,
        patience: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._patience = patience
        self.restart()

    def restart(self) -> None:
        """Begin anew: something got through."""
        self._step = FIRST
        self._until = self._clock() + self._patience

    @property
    def left(self) -> float:
        """Seconds until the patience ends; never below zero."""
        return max(0.0, self._until - self._clock())

    def next(self, asked: float | None = None) -> float | None:
        """Return the seconds to wait before the next attempt, or None when time is up.

        ``asked`` is what the service wants us to wait at least; it is jittered upwards so that
        those who were refused together do not return together.
        """
        if asked:
            wait = asked * (1 + self._jitter() / 4)
        else:
            wait = self._step * (0.5 + self._jitter() / 2)
            self._step = min(self._step * GROWTH, LONGEST)
        return wait if wait < self.left else None
