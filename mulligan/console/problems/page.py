"""What is wrong, the worst first, each with the key that does something about it."""

from collections.abc import Awaitable, Callable

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from mulligan.console.actions.offered import Action
from mulligan.console.banner import TabLine
from mulligan.console.links import Act, GoToHistory, GoToWhy
from mulligan.console.problems.remedies import action_for
from mulligan.console.source import Source
from mulligan.console.theme import BAD, BRIGHT, DIM, FAINT, GOOD, LINK, WARN
from mulligan.console.trouble import harmless
from mulligan.console.view import View
from mulligan.diagnosis.checks import problems_of
from mulligan.diagnosis.found import Status
from mulligan.diagnosis.problem import Problem
from mulligan.quantities import format_time

LOOK_S = 5.0
"""Seconds between two looks while the page is shown."""
MOST_MACHINES = 500
"""Machines in trouble that are told one by one; the list can be scrolled."""
HAVE_HISTORY = ("machine", "brake", "credential")
_SIGNS = {"critical": ("✖ critical", f"bold {BAD}"), "warning": ("◌ warning ", WARN)}


class ProblemsView(View):
    """Page ``problems``."""

    DEFAULT_CSS = """
    ProblemsView #problems-head { height: 2; padding: 0 1; background: $surface; }
    ProblemsView OptionList, ProblemsView OptionList:focus { height: 1fr; border: none;
        background: $background; background-tint: transparent; padding: 0 1; }
    ProblemsView OptionList > .option-list--option-highlighted { background: #24405e; }
    ProblemsView OptionList:focus > .option-list--option-highlighted { background: #24405e; }
    """
    BINDINGS = [
        Binding("a", "act", "Do it"),
        Binding("w", "why", "Why"),
        Binding("y", "why", show=False),
        Binding("h", "history", "History"),
    ]

    def __init__(self, source: Source, look: Callable[[], Awaitable[Status]] | None = None) -> None:
        super().__init__(source)
        self._look = look or source.status
        self._found = Status()
        self.problems: list[Problem] = []

    def compose(self) -> ComposeResult:
        """Lay out the verdict and the list."""
        yield Static(Text("asking every part…", style=DIM), id="problems-head")
        yield OptionList(id="problems-list")

    def on_mount(self) -> None:
        """Look again from time to time."""
        self.set_interval(LOOK_S, self._look_again)

    def _look_again(self) -> None:
        self.again(self.renew, group="renew")

    async def renew(self) -> None:
        """Ask every part, and show what is wrong; problems are of the present always."""
        found = await self._look()
        self._show(problems_of(found, found.at, most_machines=MOST_MACHINES), found)

    def _show(self, problems: list[Problem], found: Status) -> None:
        self._found = found
        listed = self.query_one(OptionList)
        chosen = self.chosen
        if problems != self.problems:
            self.problems = problems
            listed.clear_options()
            listed.add_options(
                [Option(problem_shown(one, action_for(one, found))) for one in problems]
            )
            again = [n for n, one in enumerate(problems) if chosen and same(one, chosen)]
            listed.highlighted = (again or [0])[0] if problems else None
        self.query_one("#problems-head", Static).update(verdict(problems, found))
        for line in self.app.query(TabLine):
            line.count(problems)

    @property
    def chosen(self) -> Problem | None:
        """Return the problem that the cursor is on."""
        number = self.query_one(OptionList).highlighted
        return self.problems[number] if number is not None and number < len(self.problems) else None

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Enter shows why, or does what can be done where there is nothing to explain."""
        message.stop()
        if self.chosen is not None and self.chosen.stream.startswith("machine/"):
            self.action_why()
        else:
            self.action_act()

    def action_act(self) -> None:
        """Do what is offered about the chosen problem."""
        action = action_for(self.chosen, self._found) if self.chosen is not None else None
        if action is not None:
            self.post_message(Act(action))

    def action_why(self) -> None:
        """Show why the machine is as it is."""
        if self.chosen is not None and self.chosen.stream.startswith("machine/"):
            self.post_message(GoToWhy(self.chosen.stream))

    def action_history(self) -> None:
        """Show what happened to the object."""
        if self.chosen is not None and self.chosen.stream.partition("/")[0] in HAVE_HISTORY:
            self.post_message(GoToHistory(self.chosen.stream))


def same(one: Problem, other: Problem) -> bool:
    """Tell whether two problems are about the same thing, whatever is said of it by now."""
    return (one.stream, one.subject) == (other.stream, other.subject)


def verdict(problems: list[Problem], found: Status) -> Text:
    """Return whether all is well, as of when."""
    at = Text(
        f"\nas of {format_time(found.at)}, the present; looked at every {LOOK_S:g} s", style=FAINT
    )
    if not problems:
        return Text.assemble(("✔ all is well", f"bold {GOOD}"), at)
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    tone = BAD if problems[0].severity == "critical" else WARN
    return Text.assemble((count, f"bold {tone}"), at)


def problem_shown(one: Problem, action: Action | None) -> Text:
    """Return a problem on two lines: what is wrong, and what to do about it."""
    sign, tone = _SIGNS[one.severity]
    about = "" if one.what.startswith(one.subject) else f"{one.subject}: "
    text = Text.assemble((f"{sign} ", tone), (harmless(f"{about}{one.what}"), BRIGHT))
    text.append(f"\n           → {harmless(one.next)}", style=DIM)
    if action is not None:
        text.append("   a ", style=f"bold {LINK}")
        text.append(harmless(action.title), style=LINK)
    if one.stream.startswith("machine/"):
        text.append("   w ", style=f"bold {LINK}").append("why", style=LINK)
    return text
