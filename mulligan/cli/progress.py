"""Progress on standard error: bars on a terminal, a line a change elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class Progress:
    """Shows how far several things are; use it as a context manager."""

    def __init__(self, *, quiet: bool = False, err: TextIO | None = None) -> None:
        self._quiet = quiet
        self._err = err or sys.stderr
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._err.isatty() and not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
                console=Console(file=self._err),
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Draw nothing while the block runs, so that it can ask somebody at the terminal."""
        if self._bars is None:
            yield
            return
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()

    def show(self, name: str, text: str, done: float = 0, total: float | None = None) -> None:
        """Show where the thing called ``name`` stands; ``total`` None means nobody knows."""
        if self._quiet:
            return
        if self._bars is None:
            if self._said.get(name) != text:
                self._said[name] = text
                self._err.write(f"{name}: {text}\n")
                self._err.flush()
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, text=text)
        self._bars.update(self._tasks[name], completed=done, total=total, text=text)
