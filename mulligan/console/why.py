"""Why a machine or a claim is as it is: its chain as a tree, each step tied to its entry."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static, Tree
from textual.widgets.tree import TreeNode

from mulligan.console.links import GoToEntry, GoToHistory
from mulligan.console.source import Source
from mulligan.console.theme import BAD, BRIGHT, DIM, FAINT, GOOD, LINK, TEXT, WARN
from mulligan.console.trouble import harmless, next_step, shown
from mulligan.errors import MulliganError, NotFound
from mulligan.model import is_uuid
from mulligan.proto.v1 import (
    ExplainClaimRequest,
    ExplainClaimResponse,
    RequestGroup,
    Span,
    WhyMachineRequest,
    WhyMachineResponse,
)
from mulligan.quantities import format_amount, format_span, format_time

if TYPE_CHECKING:
    from mulligan.console.app import ConsoleApp

SHORT = 60
"""Characters of a detail that stands beside its step."""
_BAD_WORDS = ("fail", "fatal", "denied", "refused", "lost", "halt")


class Step(NamedTuple):
    """A step of a chain: what, when and by whom, what more there is to say, and its entry."""

    what: str
    told: str = ""
    details: tuple[str, ...] = ()
    seq: int = 0
    tone: str = TEXT


class Chain(NamedTuple):
    """Why something is as it is: a sentence, then the steps, oldest first."""

    summary: str
    steps: tuple[Step, ...]


def named(chain: Chain, names: Mapping[str, str]) -> Chain:
    """Return a chain with the names of objects and accounts in the place of UUIDs."""

    def put(text: str) -> str:
        for uuid, name in names.items():
            text = text.replace(uuid, name)
        return text

    steps = tuple(step._replace(told=put(step.told)) for step in chain.steps)
    return Chain(put(chain.summary), steps)


def machine_chain(why: WhyMachineResponse) -> Chain:
    """Return a machine's chain, down to what is waited for."""
    steps = []
    for cause in why.chain:
        seq = cause.position.seq if cause.position else 0
        told = "  ".join(filter(None, (format_time(cause.at), cause.actor)))
        bad = any(word in cause.what.lower() for word in _BAD_WORDS)
        details = tuple(cause.detail.splitlines())
        steps.append(Step(cause.what, told, details, seq, BAD if bad else TEXT))
    rest = f"waiting for {why.waiting_for}" if why.waiting_for else "it rests"
    steps.append(Step(rest, tone=WARN if why.waiting_for else GOOD))
    return Chain(why.summary, tuple(steps))


def claim_chain(answer: ExplainClaimResponse) -> Chain:
    """Return how the providers of a claim were found, from what was asked for to what it took."""
    request, claim = answer.request, answer.claim
    steps: list[Step] = []
    if request is not None:
        asked = tuple(group_shown(group) for group in request.groups)
        steps.append(Step("asked for", span_shown(request.window), asked))
    at = answer.searched_at
    searched = bool(answer.policy)
    policy = f"policy {answer.policy}, seed {answer.seed}"
    considered = f"{answer.considered} providers considered, {answer.conflicts} conflicts"
    if searched:
        steps.append(Step("searched", f"{policy}, {considered}", seq=at.seq if at else 0))
    if answer.stages:
        dropped = tuple(f"{one.stage}: {one.providers}" for one in answer.stages)
        steps.append(Step("providers dropped, by stage", "", dropped))
    if answer.rejected:
        taken = "taken by others meanwhile"
        steps.append(Step(taken, "", tuple(answer.rejected), tone=WARN))
    if claim is not None:
        steps.append(Step("took", "", _held(answer), tone=GOOD))
    if answer.candidate is not None:
        same = "the same search finds the same there" if answer.same else "it would differ today"
        steps.append(Step(same, tone=GOOD if answer.same else WARN))
    return Chain(answer.text or "how its providers were found", tuple(steps))


def _held(answer: ExplainClaimResponse) -> tuple[str, ...]:
    claim = answer.claim
    assert claim is not None, "the caller has looked"
    return tuple(
        f"{one.provider_name or one.provider}: "
        + " ".join(f"{name}={format_amount(name, n)}" for name, n in sorted(one.amounts.items()))
        for one in claim.allocations
    )


def group_shown(group: RequestGroup) -> str:
    """Return one group of a request on a line."""
    words = [f"{group.name}:" if group.name else "", f"{group.count or 1} x"]
    words += [f"{name}={format_amount(name, n)}" for name, n in sorted(group.resources.items())]
    if group.capabilities is not None:
        words += [f"+{name}" for name in group.capabilities.require]
        words += [f"-{name}" for name in group.capabilities.forbid]
    return " ".join(word for word in words if word)


def span_shown(span: Span | None) -> str:
    """Return when a claim was wanted."""
    if span is None:
        return ""
    if span.duration is not None and span.duration > timedelta(0):
        return f"the first {format_span(span.duration.total_seconds())} that fits"
    return f"{format_time(span.start) or 'now'} to {format_time(span.end) or 'open'}"


class WhyScreen(ModalScreen[None]):
    """The chain of a machine or claim, named by its stream."""

    DEFAULT_CSS = """
    WhyScreen { align: center middle; background: $background 60%; }
    WhyScreen #why { width: 92%; height: 88%; background: $panel; border: round $primary;
        padding: 0 1; }
    WhyScreen #why-summary { height: auto; padding: 0 0 1 0; }
    WhyScreen Tree { background: $panel; height: 1fr; scrollbar-size: 1 1;
        background-tint: transparent; }
    WhyScreen Tree:focus { background-tint: transparent; }
    """
    BINDINGS = [
        Binding("escape,q", "dismiss", "Close"),
        Binding("g", "entry", "Log entry"),
        Binding("h", "history", "History"),
        Binding("r", "renew", "Read anew"),
    ]

    def __init__(self, source: Source, stream: str) -> None:
        super().__init__()
        self._source = source
        self._stream = stream

    def compose(self) -> ComposeResult:
        """Lay out the sentence and the tree."""
        with Vertical(id="why") as box:
            box.border_title = "why"
            box.border_subtitle = "enter/g log entry   h history   esc close"
            yield Static(Text("asking…", style=DIM), id="why-summary")
            tree: Tree[Step] = Tree(self._stream)
            tree.show_root = False
            tree.guide_depth = 3
            yield tree

    def on_mount(self) -> None:
        """Ask at once."""
        self.action_renew()
        self.query_one(Tree).focus()

    def action_renew(self) -> None:
        """Ask again."""
        app = cast("ConsoleApp", self.app)
        self.run_worker(app.guarded(self._load), group="why", exclusive=True, exit_on_error=False)

    async def _load(self) -> None:
        summary = self.query_one("#why-summary", Static)
        try:
            chain = await self.chain()
        except MulliganError as error:
            text = f"{shown(error)}\n{next_step(error)}".rstrip()
            summary.update(Text(text, style=BAD))
            return
        chain = named(chain, await self._names(chain))
        summary.update(Text(harmless(chain.summary), style=f"bold {BRIGHT}"))
        grow(self.query_one(Tree), chain)

    async def _names(self, chain: Chain) -> dict[str, str]:
        """Return what the objects and accounts of a chain are called; no names are no harm."""
        words = " ".join([chain.summary, *(step.told for step in chain.steps)]).split()
        bare = {word.strip(".,;") for word in words}
        try:
            found = await self._source.present.names.describe(filter(is_uuid, bare))
        except MulliganError:
            return {}
        return {uuid: name.name for uuid, name in found.items()}

    async def chain(self) -> Chain:
        """Ask why; raise NotFound for a stream that is neither a machine nor a claim."""
        kind, _, key = self._stream.partition("/")
        client, deadline = self._source.client, self._source.deadline
        if kind == "machine":
            asked = WhyMachineRequest(machine=key)
            return machine_chain(await client.control.why_machine(asked, timeout=deadline))
        if kind == "claim":
            explain = ExplainClaimRequest(claim=key)
            return claim_chain(await client.resource.explain_claim(explain, timeout=deadline))
        raise NotFound("why-chain", self._stream)

    def on_tree_node_selected(self, message: Tree.NodeSelected[Step]) -> None:
        """Go to the step's entry."""
        message.stop()
        self._go(message.node)

    def action_entry(self) -> None:
        """Go to the entry of the step that the cursor is on."""
        self._go(self.query_one(Tree).cursor_node)

    def _go(self, node: "TreeNode[Step] | None") -> None:
        step = node.data if node is not None else None
        if step is not None and step.seq:
            self.app.post_message(GoToEntry(step.seq))
            self.dismiss()

    def action_history(self) -> None:
        """Show the history of the machine or claim."""
        self.app.post_message(GoToHistory(self._stream))
        self.dismiss()


def grow(tree: "Tree[Step]", chain: Chain) -> None:
    """Put a chain into a tree, all of it open, the cursor on what it rests upon.

    A single short detail stands beside its step.
    """
    tree.clear()
    for step in chain.steps:
        beside = len(step.details) == 1 and len(step.details[0]) <= SHORT
        place = f"#{step.seq:,}" if step.seq else ""
        below = () if beside else step.details
        arrow = "" if below else "  "  # the tree draws one where something is below
        label = Text.assemble(
            (f"{arrow}{place:>8} ", LINK),
            (harmless(step.what), step.tone),
            (f"  {harmless(step.details[0])}" if beside else "", DIM),
            (f"  {harmless(step.told)}", FAINT),
        )
        node = tree.root.add(label, data=step, expand=True, allow_expand=bool(below))
        for detail in below:
            node.add_leaf(Text(harmless(detail), style=DIM), data=step)
    tree.root.expand()
    if chain.steps:
        tree.call_after_refresh(tree.move_cursor, tree.root.children[-1])
