"""The figures that every client goes by, read from where the Python client has them."""

import ast
from collections.abc import Sequence
from pathlib import Path

FIGURES = {
    "PATIENCE": "calls",
    "ATTEMPT": "calls",
    "CONNECT": "calls",
    "RENEW_S": "calls",
    "FIRST": "backoff",
    "GROWTH": "backoff",
    "LONGEST": "backoff",
    "ASK_TIMEOUT": "directory",
    "COOL_DOWN": "directory",
    "PAUSE": "directory",
    "KEEPALIVE": "channels",
    "KEPT": "names",
    "LIFE": "names",
    "ABSENT_LIFE": "names",
    "BATCH": "names",
    "PAGE_SIZE": "paging",
    "MOVING_S": "deeds",
    "FIRST_LOOK": "deeds",
    "LAST_LOOK": "deeds",
    "POSITION_HEADER": "model",
    "AT_HEADER": "model",
}
"""Each constant that clients share, and the module that it was last seen in."""

Figure = int | float | str


class FigureMissing(Exception):
    """A constant is not where it is looked for; the message names it."""


def read_figures(package: Path) -> dict[str, Figure]:
    """Return the shared constants of the package ``mulligan`` in the folder ``package``.

    They are read, not imported: the generated code may be broken. One that has moved to another
    module of the client is found there; raise FigureMissing when it is in none, or in several.
    """
    texts = [package / "model.py", *sorted((package / "client").glob("*.py"))]
    found = {path.stem: _constants(path.read_text()) for path in texts}
    return {name: _figure(name, module, found) for name, module in FIGURES.items()}


def _figure(name: str, module: str, found: dict[str, dict[str, Figure]]) -> Figure:
    if name in found.get(module, {}):
        return found[module][name]
    holders: Sequence[str] = [stem for stem, constants in found.items() if name in constants]
    if len(holders) != 1:
        where = f"in each of {', '.join(holders)}" if holders else "nowhere"
        raise FigureMissing(
            f"{name} was in mulligan/client/{module}.py and is now {where}; correct FIGURES"
        )
    return found[holders[0]][name]


def _constants(text: str) -> dict[str, Figure]:
    return {
        target.id: node.value.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, int | float | str)
    }
