"""The part that folding has in the traces of the commits that are folded."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice

from mulligan import tracing
from mulligan.log.protocol import Stored

_MOST = 8
"""Commits of a batch whose traces are told of it."""


@contextmanager
def traced(batch: Sequence[Stored]) -> Iterator[None]:
    """Run the block in a span of each commit's trace, for the first few of a batch."""
    if not tracing.is_on():
        yield
        return
    found = (
        (stored.seq, commit)
        for stored in batch
        for commit in stored.entry.commits
        if commit.traceparent
    )
    with ExitStack() as spans:
        for seq, commit in islice(found, _MOST):
            spans.enter_context(tracing.following(tracing.well_formed(commit.traceparent)))
            about: Mapping[str, tracing.Value] = {"seq": seq, "command": commit.command}
            spans.enter_context(tracing.span("project", about=about))
        yield
