"""Where the cursor goes on the fleet map. Pure."""

from mulligan.console.fleet.layout import Layout, Run


def step(layout: Layout, here: str, way: str, height: int) -> str:
    """Return the machine that a key leads to; ``height`` is a page's number of lines."""
    order = layout.order
    if not order:
        return ""
    if way in ("home", "end") or here not in layout.spots:
        return order[-1] if way == "end" else order[0]
    match way:
        case "left":
            return order[max(0, order.index(here) - 1)]
        case "right":
            return order[min(len(order) - 1, order.index(here) + 1)]
        case "up":
            return _vertical(layout, here, -1, 1)
        case "down":
            return _vertical(layout, here, 1, 1)
        case "pageup":
            return _vertical(layout, here, -1, max(1, height - 2))
        case _:
            return _vertical(layout, here, 1, max(1, height - 2))


def _vertical(layout: Layout, here: str, by: int, lines: int) -> str:
    """Return the nearest cell at least so many lines away, or the furthest there is."""
    spot = layout.spots[here]
    found, number = here, spot.y + by
    while 0 <= number < len(layout.lines):
        line = layout.lines[number]
        runs = [one for one in line if isinstance(one, Run)] if isinstance(line, tuple) else []
        if runs:
            found = _nearest(runs, spot.x, layout.cell)
            if abs(number - spot.y) >= lines:
                break
        number += by
    return found


def _nearest(runs: list[Run], x: int, cell: int) -> str:
    def column(run: Run) -> int:
        return max(0, min((x - run.x) // cell, len(run.machines) - 1))

    best = min(runs, key=lambda run: abs(run.x + column(run) * cell - x))
    return best.machines[column(best)]
