"""Words that the command line and the console print alike."""

import re
from enum import IntEnum
from typing import Any, Protocol

_NUMBERS = re.compile(r"(\d+)")


def harmless(text: str, keep: str = "\n\t") -> str:
    """Return a text without control characters but those of ``keep``.

    BMCs write what they like into their answers.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else "\N{REPLACEMENT CHARACTER}" for c in text)


class Failed(Protocol):
    """A machine that failed, as its message has it."""

    failed_operation: str
    fault: Any


def failure_shown(machine: Failed, called: str) -> str:
    """Return what a failed machine failed to do, and why."""
    fault = machine.fault
    what = f"{fault.message or fault.fault} (step {fault.step})" if fault else "no reason recorded"
    return f"{called} failed to {machine.failed_operation or 'end its operation'}: {what}"


def word(value: IntEnum) -> str:
    """Return an enum's value in lower case; nothing for the unspecified one."""
    return "" if int(value) == 0 else (value.name or str(int(value))).lower()


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return the key that sorts ``node-9`` before ``node-10``, and ``Node-1`` beside ``node-1``."""
    return tuple(
        (1, int(part), "") if part.isdecimal() else (0, 0, part.casefold())
        for part in _NUMBERS.split(name)
        if part
    )
