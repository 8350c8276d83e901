"""Words that the command line and the console print alike."""

from enum import IntEnum

BACKUP = "backup: "
"""Begins each line of an archive's problem that is about what the archive does not hold."""


def harmless(text: str, keep: str = "\n\t") -> str:
    """Return a text without control characters but those of ``keep``.

    BMCs write what they like into their answers.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else "\N{REPLACEMENT CHARACTER}" for c in text)


def word(value: IntEnum) -> str:
    """Return an enum's value in lower case; nothing for the unspecified one."""
    return "" if int(value) == 0 else (value.name or str(int(value))).lower()
