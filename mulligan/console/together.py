"""Several things at once, whose failure is that of one."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from mulligan.console.trouble import first_cause


async def together(*works: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do some works at once; raise what the first that fails raises, and not a group of it."""
    try:
        async with anyio.create_task_group() as tasks:
            for work in works:
                tasks.start_soon(work)
    except ExceptionGroup as group:
        raise first_cause(group) from None
