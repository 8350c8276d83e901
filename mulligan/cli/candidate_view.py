"""How candidates, and why there are none, are told to people and to programs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mulligan.cli.claim_view import resources_shown
from mulligan.cli.output import Column, plain
from mulligan.quantities import format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import Candidate, ListCandidatesResponse, StageCount, WhyNot

Names = Mapping[str, str]
"""What providers are called, by UUID."""


def names_in(answer: "ListCandidatesResponse") -> Names:
    """Return the names of every provider that an answer speaks of."""
    names = {one.uuid: one.name for one in answer.providers if one.name}
    for candidate in answer.candidates:
        names |= names_of_allocations(candidate)
    return names


def names_of_allocations(candidate: "Candidate") -> dict[str, str]:
    """Return the names of the providers that a candidate takes something of."""
    return {one.provider: one.provider_name for one in candidate.allocations if one.provider_name}


def groups_of(candidate: "Candidate", names: Names) -> dict[str, list[str]]:
    """Return the names of the chosen providers by request group, in order."""
    return {
        group: sorted(names.get(provider, provider) for provider in chosen.providers)
        for group, chosen in sorted(candidate.groups.items())
    }


def candidate_form(candidate: "Candidate", names: Names, *, window: bool) -> dict[str, Any]:
    """Return a candidate as it is printed for programs: amounts add up by provider and class."""
    allocations: dict[str, dict[str, int]] = {}
    for one in candidate.allocations:
        taken = allocations.setdefault(names.get(one.provider, one.provider), {})
        for name, amount in one.amounts.items():
            taken[name] = taken.get(name, 0) + amount
    in_order = {name: dict(sorted(taken.items())) for name, taken in sorted(allocations.items())}
    form: dict[str, Any] = {"allocations": in_order, "groups": groups_of(candidate, names)}
    if window and candidate.window is not None:
        form["window"] = {
            "start": plain(candidate.window.start),
            "end": plain(candidate.window.end),
        }
    return form


def why_not_form(why: "WhyNot") -> dict[str, Any]:
    """Return why there is no candidate, as it is printed for programs."""
    return {
        "text": why.text,
        "group": why.group,
        "considered": why.considered,
        "stages": {one.stage: one.providers for one in why.stages},
        "nearest": [
            {"provider": one.name or one.provider, "stage": one.stage, "detail": one.detail}
            for one in why.nearest
        ],
        "earliest": plain(why.earliest),
        "earliest_exact": why.earliest_exact,
    }


def why_not_lines(why: "WhyNot") -> list[str]:
    """Return why there is no candidate, for reading."""
    about = f"group {why.group}: " if why.group else ""
    lines = [f"{about}{why.text}"]
    lines.append(f"  considered  {why.considered}")
    lines += [f"  {line}" for line in stage_lines(why.stages)]
    lines += [
        f"  nearest     {one.name or one.provider}: {one.detail or one.stage}"
        for one in why.nearest
    ]
    if why.earliest is not None:
        sooner = "" if why.earliest_exact else ", and may fit sooner"
        lines.append(f"  fits        {format_time(why.earliest)}{sooner}")
    return lines


def stage_lines(stages: "Sequence[StageCount]") -> list[str]:
    """Return how many providers each stage of a search dropped, and how many passed them all."""
    return [
        f"fit         {one.providers}"
        if one.stage == "fit"
        else f"dropped     {one.providers} by {one.stage}"
        for one in stages
        if one.providers
    ]


def columns_of(names: Names, *, window: bool) -> tuple[Column, ...]:
    """Return the columns of a table of candidates."""
    when = (
        Column("START", lambda one: format_time(one.window.start if one.window else None)),
        Column("END", lambda one: format_time(one.window.end if one.window else None)),
    )
    return (
        Column("PROVIDERS", lambda one: providers_shown(one, names)),
        Column("RESOURCES", lambda one: resources_shown(one.allocations)),
        *(when if window else ()),
    )


def providers_shown(candidate: "Candidate", names: Names) -> str:
    """Return the chosen providers on a line, by request group where these have names."""
    chosen = [
        f"{group}: {' '.join(providers)}" if group else " ".join(providers)
        for group, providers in groups_of(candidate, names).items()
    ]
    taken = sorted({names.get(one.provider, one.provider) for one in candidate.allocations})
    return "; ".join(chosen) or " ".join(taken)
