"""The options of ``claim make`` and ``reservation make``, turned into a request."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.request import read_request, string_lists
from mulligan.cli.span import When, make_span, parse_span_or_none
from mulligan.cli.verbs import Bundle
from mulligan.errors import InvalidArgument
from mulligan.quantities import parse_pairs

if TYPE_CHECKING:
    from mulligan.proto.v1 import MakeClaimRequest, ResourceRequest

AmountsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="CLASS=AMOUNT", help="Such as machine=1 memory=64GiB."),
]
ClassOption = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="CLASS=AMOUNT", help="The same as an option. Repeatable."),
]
CountOption = Annotated[int, typer.Option("--count", "-n", help="Instances, all or none.")]
RequireOption = Annotated[
    list[str] | None, typer.Option("--require", help="Capability each must have. Repeatable.")
]
ForbidOption = Annotated[
    list[str] | None, typer.Option("--forbid", help="Capability none may have. Repeatable.")
]
GroupOption = Annotated[
    list[str] | None, typer.Option("--group", help="In one of these groups. Repeatable.")
]
IsolateOption = Annotated[
    bool, typer.Option("--isolate", help="Every instance on a different provider.")
]
PolicyOption = Annotated[str, typer.Option("--policy", help="random, pack or spread.")]
NameOption = Annotated[str, typer.Option("--name", help="Name, unique in the project.")]
ConsumerOption = Annotated[str, typer.Option("--consumer", help="UUID of what will use it.")]
StartOption = Annotated[str, typer.Option("--start", help="When: +2h or ISO; default: now.")]
EndOption = Annotated[str, typer.Option("--end", help="Until when: +6h or ISO.")]
ForOption = Annotated[str, typer.Option("--for", help="For how long: 90m, 4h, 2d.")]
NotBeforeOption = Annotated[
    str, typer.Option("--not-before", help="With --for: the earliest that fits from then on.")
]
NotAfterOption = Annotated[
    str, typer.Option("--not-after", help="With --for: the earliest that fits and ends by then.")
]
OnEndOption = Annotated[
    str, typer.Option("--on-end", help="Of its machines: release (default) or keep_power_off.")
]
NoticeOption = Annotated[
    str, typer.Option("--ending-notice", help="Announce the end so long ahead: 1h; 0: never.")
]
FileOption = Annotated[str, typer.Option("--file", "-f", help="Request in YAML; - reads stdin.")]

INSTANCE = "instance"
"""What the instances are called that options ask for, where they need a name."""


def parse_notice(text: str) -> timedelta | None:
    """Read ``--ending-notice``; None when it was not given."""
    return parse_span_or_none(text, "--ending-notice") if text else None


@dataclass(frozen=True, kw_only=True)
class Wanted(Bundle):
    """What the options of a search for capacity say; those left out are empty."""

    amounts: AmountsArgument = None
    classes: ClassOption = None
    count: CountOption = 1
    require: RequireOption = None
    forbid: ForbidOption = None
    group: GroupOption = None
    isolate: IsolateOption = False
    policy: PolicyOption = ""
    start: StartOption = ""
    end: EndOption = ""
    duration: ForOption = ""
    not_before: NotBeforeOption = ""
    not_after: NotAfterOption = ""
    file: FileOption = ""

    @property
    def wanted(self) -> list[str]:
        """What is to be claimed, as it was written."""
        return [*(self.amounts or []), *(self.classes or [])]

    @property
    def when(self) -> When:
        """What they say about the time."""
        return When(self.start, self.end, self.duration, self.not_before, self.not_after)

    def request(self, now: datetime) -> "MakeClaimRequest":
        """Return the claim of the file, with the options over it, or one for what they want.

        Raise InvalidArgument when they contradict one another or do not say what is wanted.
        """
        from mulligan.proto.v1 import MakeClaimRequest

        if self.file:
            if self.wanted or self.require or self.forbid or self.group or self.count != 1:
                raise InvalidArgument(
                    "--file", "the file says what to claim; leave such options out"
                )
            found = read_request(self.file, now)
        else:
            found = MakeClaimRequest(request=self._wanted())
        assert found.request is not None
        asked = replace(found.request, policy=self.policy or found.request.policy)
        if any(self.when) or asked.window is None:
            asked = replace(asked, window=make_span(self.when, now))
        if self.isolate:
            names = [group.name or INSTANCE for group in asked.groups]
            named = zip(asked.groups, names, strict=True)
            asked = replace(
                asked,
                groups=[replace(group, name=name) for group, name in named],
                isolate=[*asked.isolate, *string_lists([names])],
            )
        return replace(found, request=asked)

    def _wanted(self) -> "ResourceRequest":
        from mulligan.proto.v1 import (
            CapabilityFilter,
            GroupFilter,
            RequestGroup,
            ResourceRequest,
        )

        if not self.wanted:
            raise InvalidArgument("CLASS=AMOUNT", "say what to claim, such as machine=1, or -f")
        require, forbid = self.require or [], self.forbid or []
        both = [name for name in forbid if name in require]
        if both:
            raise InvalidArgument("--forbid", f"{both[0]} is required as well")
        group = RequestGroup(
            count=self.count,
            resources=parse_pairs(self.wanted, "CLASS=AMOUNT"),
            capabilities=CapabilityFilter(require=require, forbid=forbid),
            groups=GroupFilter(any_of=string_lists([self.group] if self.group else [])),
        )
        return ResourceRequest(groups=[group])


@dataclass(frozen=True, kw_only=True)
class Asked(Wanted):
    """What the options of a claim say; those left out are empty."""

    name: NameOption = ""
    consumer: ConsumerOption = ""
    on_end: OnEndOption = ""
    ending_notice: NoticeOption = ""

    def request(self, now: datetime) -> "MakeClaimRequest":
        """Return the claim of the file, with the options over it, or that of the options.

        Raise InvalidArgument when they contradict one another or do not say what is wanted.
        """
        found = super().request(now)
        notice = parse_notice(self.ending_notice)
        return replace(
            found,
            name=self.name or found.name,
            consumer=self.consumer or found.consumer,
            on_end=self.on_end or found.on_end,
            ending_notice=found.ending_notice if notice is None else notice,
        )
