import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from mulligan.cli.candidates import show_candidates
from mulligan.cli.output import Format, Output
from mulligan.cli.plan import plan_form, plan_lines
from mulligan.proto import v1

NOW = datetime(2027, 1, 31, 8, 0, tzinfo=UTC)
NAMES = {"u-1": "node-1", "u-2": "node-2", "u-3": "rack-1"}


def candidate(*providers: str, groups: dict[str, list[str]] | None = None) -> v1.Candidate:
    return v1.Candidate(
        allocations=[
            v1.Allocation(provider=one, amounts={"machine": 1}, group="server") for one in providers
        ],
        groups={
            name: v1.GroupProviders(providers=chosen)
            for name, chosen in (groups or {"server": list(providers)}).items()
        },
        window=v1.Window(start=NOW, end=NOW + timedelta(hours=4)),
    )


def answer(*candidates: v1.Candidate, **more: Any) -> v1.ListCandidatesResponse:
    summaries = [v1.ProviderSummary(uuid=uuid, name=name) for uuid, name in NAMES.items()]
    return v1.ListCandidatesResponse(candidates=list(candidates), providers=summaries, **more)


def refused() -> v1.ListCandidatesResponse:
    why = v1.WhyNot(
        group="server",
        text="no provider has memory=1TiB free",
        considered=12,
        stages=[
            v1.StageCount(stage="inventory", providers=8),
            v1.StageCount(stage="group", providers=0),
            v1.StageCount(stage="capacity", providers=4),
        ],
        nearest=[
            v1.NearestMiss(provider="u-1", name="node-1", stage="capacity", detail="0.5TiB free")
        ],
        earliest=NOW,
    )
    return answer(why_not=why)


def printed(
    response: v1.ListCandidatesResponse,
    form: Format = Format.JSON,
    *,
    window: bool = False,
    ordered: bool = False,
) -> str:
    out = io.StringIO()
    show_candidates(Output(form, out=out), response, window=window, ordered=ordered)
    return out.getvalue()


def test_a_candidate_names_providers_and_adds_up_what_it_takes_of_each() -> None:
    one = candidate("u-2", "u-2", "u-1", groups={"server": ["u-2", "u-2", "u-1"], "at": ["u-3"]})
    assert json.loads(printed(answer(one))) == {
        "candidates": [
            {
                "allocations": {"node-2": {"machine": 2}, "node-1": {"machine": 1}},
                "groups": {"server": ["node-1", "node-2", "node-2"], "at": ["rack-1"]},
            }
        ],
        "why_not": None,
    }


def test_candidates_keep_their_rank_unless_all_are_wanted() -> None:
    found = answer(candidate("u-2"), candidate("u-1"))
    ranked = json.loads(printed(found))["candidates"]
    assert [list(one["allocations"]) for one in ranked] == [["node-2"], ["node-1"]]
    ordered = json.loads(printed(found, ordered=True))["candidates"]
    assert ordered == ranked[::-1]
    assert ordered == sorted(ranked, key=lambda one: json.dumps(one, sort_keys=True))


def test_all_candidates_are_printed_alike_however_they_were_found() -> None:
    one = printed(answer(candidate("u-1", "u-2"), candidate("u-3")), ordered=True)
    other = printed(answer(candidate("u-3"), candidate("u-2", "u-1")), ordered=True)
    assert one == other


def test_the_window_is_told_when_it_was_searched_for() -> None:
    (one,) = json.loads(printed(answer(candidate("u-1")), window=True))["candidates"]
    assert one["window"] == {"start": "2027-01-31T08:00:00Z", "end": "2027-01-31T12:00:00Z"}


def test_a_refusal_says_why_for_programs() -> None:
    assert json.loads(printed(refused())) == {
        "candidates": [],
        "why_not": {
            "text": "no provider has memory=1TiB free",
            "group": "server",
            "considered": 12,
            "stages": {"inventory": 8, "group": 0, "capacity": 4},
            "nearest": [{"provider": "node-1", "stage": "capacity", "detail": "0.5TiB free"}],
            "earliest": "2027-01-31T08:00:00Z",
            "earliest_exact": False,
        },
    }


def test_a_refusal_says_why_for_people() -> None:
    assert printed(refused(), Format.TABLE).splitlines() == [
        "no candidates",
        "group server: no provider has memory=1TiB free",
        "  considered  12",
        "  dropped     8 by inventory",
        "  dropped     4 by capacity",
        "  nearest     node-1: 0.5TiB free",
        "  fits        2027-01-31 08:00:00Z, and may fit sooner",
    ]


def test_people_read_a_candidate_on_a_line() -> None:
    one = candidate("u-1", "u-2", groups={"server": ["u-1", "u-2"], "at": ["u-3"]})
    assert printed(answer(one), Format.TABLE).splitlines() == [
        "PROVIDERS                          RESOURCES",
        "at: rack-1; server: node-1 node-2  machine=2",
    ]
    assert printed(answer(one), Format.NAME) == "node-1,node-2\n"


def test_a_plan_tells_what_fits_and_what_is_refused() -> None:
    fits = v1.Plan(name="a", candidate=candidate("u-1"))
    over = v1.Plan(name="b", refusal="quota of machine is 4")
    misses = v1.Plan(name="c", why_not=refused().why_not)
    assert plan_lines(fits) == ["+ a  server: u-1  machine=1  from 2027-01-31 08:00:00Z"]
    assert plan_lines(over) == ["- b  quota of machine is 4"]
    assert plan_lines(misses)[0] == "- c  group server: no provider has memory=1TiB free"
    assert plan_form(over) == {
        "name": "b",
        "candidate": None,
        "why_not": None,
        "refusal": "quota of machine is 4",
    }
