"""The console's colours: one for each state of a machine, and Textual's theme around them."""

from textual.theme import Theme

INK = Theme(
    name="mulligan",
    primary="#5fb3f3",
    secondary="#8a9bb0",
    accent="#f2a65a",
    success="#4fc08d",
    warning="#f2c14e",
    error="#f0616d",
    foreground="#d6dee8",
    background="#0d1219",
    surface="#121923",
    panel="#1a2431",
    dark=True,
    variables={
        "footer-key-foreground": "#5fb3f3",
        "footer-description-foreground": "#8a9bb0",
        "footer-background": "#121923",
        "border": "#2b3a4d",
        "scrollbar": "#2b3a4d",
        "scrollbar-background": "#0d1219",
        "scrollbar-background-hover": "#0d1219",
        "scrollbar-background-active": "#0d1219",
        "scrollbar-corner-color": "#0d1219",
        "scrollbar-hover": "#3d5068",
        "scrollbar-active": "#5fb3f3",
        "block-cursor-foreground": "#0d1219",
        "block-cursor-background": "#5fb3f3",
    },
)
"""Dark, for a wall or a desk at night; the states carry the colour."""

STATES: dict[str, str] = {
    "enrolled": "#7d8ca1",
    "inspecting": "#b48ef2",
    "manageable": "#5b7fb5",
    "cleaning": "#3fc1c9",
    "available": "#4fc08d",
    "deploying": "#f2a65a",
    "active": "#4d96ff",
    "rescuing": "#e58fc5",
    "rescue": "#d16ba5",
    "restoring": "#c490e4",
    "retired": "#66738a",
    "failed": "#f0616d",
}
"""The colour of each state, in the order of the legend: on the way up, in use, and out."""

UNKNOWN = "#9aa5b1"
DIM = "#8a9bb0"
FAINT = "#55657a"
TEXT = "#d6dee8"
BRIGHT = "#ffffff"
GROUND = "#0d1219"
GOOD = "#4fc08d"
WARN = "#f2c14e"
BAD = "#f0616d"
LINK = "#5fb3f3"


def colour_of(state: str) -> str:
    """Return the colour of a state, also of one that this release does not know."""
    return STATES.get(state, UNKNOWN)
