from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mulligan.cli.claim_options import Asked
from mulligan.cli.request import read_request, read_requests
from mulligan.cli.span import When, make_window
from mulligan.errors import InvalidArgument
from mulligan.proto import v1

NOW = datetime(2027, 1, 31, 8, 0, tzinfo=UTC)

REQUEST = """\
groups:
  - name: server
    count: 4
    resources: {machine: 1, memory: 64GiB}
    capabilities: {require: [storage.ssd], forbid: [], any_of: [[hw.cpu.amd, hw.cpu.intel]]}
    groups: {any_of: [[pool-a, pool-b]], forbid: [rack-7]}
window: {start: 2027-02-01T00:00Z, duration: 4h}
policy: pack
"""


def write(folder: Path, text: str) -> str:
    path = folder / "request.yaml"
    path.write_text(text)
    return str(path)


def test_a_request_file_becomes_a_message(tmp_path: Path) -> None:
    request = read_request(write(tmp_path, REQUEST), NOW).request
    assert request is not None
    (group,) = request.groups
    assert group.resources == {"machine": 1, "memory": 64 * 2**30}
    assert group.count == 4
    assert group.capabilities is not None
    assert group.capabilities.any_of == [v1.StringList(values=["hw.cpu.amd", "hw.cpu.intel"])]
    assert group.groups is not None
    assert group.groups.forbid == ["rack-7"]
    start = datetime(2027, 2, 1, tzinfo=UTC)
    assert request.window == v1.Span(start=start, end=start + timedelta(hours=4))
    assert request.policy == "pack"


WHOLE = """\
name: train
consumer: 01920000-0000-7000-8000-000000000001
on_end: keep_power_off
ending_notice: 30m
groups:
  - name: server
    count: 2
    resources: {machine: 1}
    groups: {require: [pool-a], forbid: [rack-7]}
    in_tree: site-1
    single_provider: false
  - name: place
isolate: [[server]]
same_subtree: [[server, place]]
distances:
  - {from: server, to: server, type: failure, min: rack}
  - {from: server, to: {provider: store-1}, type: network, max: site}
  - {from: server, to: {group: row-2}, type: network, min: site, max: remote}
window: {duration: 4h, not_before: +1h, not_after: +2d}
same_tree: true
root_capabilities: {require: [hw.cpu.amd], forbid: [hw.gpu]}
"""


def test_every_key_of_a_request_finds_its_field(tmp_path: Path) -> None:
    claim = read_request(write(tmp_path, WHOLE), NOW)
    assert (claim.name, claim.on_end) == ("train", "keep_power_off")
    assert claim.ending_notice == timedelta(minutes=30)
    request = claim.request
    assert request is not None
    server, place = request.groups
    assert server.groups == v1.GroupFilter(require=["pool-a"], forbid=["rack-7"])
    assert (server.in_tree, server.single_provider) == ("site-1", False)
    assert (place.resources, place.single_provider) == ({}, None)
    assert request.isolate == [v1.StringList(values=["server"])]
    assert request.same_subtree == [v1.StringList(values=["server", "place"])]
    assert request.distances == [
        v1.DistanceRule(from_="server", to="server", type="failure", min="rack"),
        v1.DistanceRule(from_="server", provider="store-1", type="network", max="site"),
        v1.DistanceRule(from_="server", group="row-2", type="network", min="site", max="remote"),
    ]
    assert request.window == v1.Span(
        duration=timedelta(hours=4),
        not_before=NOW + timedelta(hours=1),
        not_after=NOW + timedelta(days=2),
    )
    assert request.same_tree
    assert request.root_capabilities == v1.CapabilityFilter(
        require=["hw.cpu.amd"], forbid=["hw.gpu"]
    )


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        (
            ("isolate: [[server]]", "isolate: [[sever]]"),
            ":13: isolate[0][0]",
            "'sever' is no group",
        ),
        (("[server, place]", "[server, x]"), ":14: same_subtree[0][1]", "no group of this request"),
        (("to: server,", "to: store-1,"), ":16: distances[0].to", "'store-1' is no group"),
        (("from: server, to: server", "from: x, to: server"), ":16: distances[0].from", "no group"),
        (("{provider: store-1}", "{}"), ":17: distances[1].to", "a provider or a group"),
        (("{group: row-2}", "{site: row-2}"), ":18: distances[2].to.site", "not a key"),
        (("forbid: [hw.gpu]", "forbid: [hw.cpu.amd]"), ":21: root_capabilities.forbid[0]", "both"),
        (("forbid: [rack-7]", "forbid: [pool-a]"), ":9: groups[0].groups.forbid[0]", "both"),
        (("name: place", "name: server"), ":12: groups[1].name", "another group's"),
        (("- name: place", "- count: 1"), ":12: groups[1]", "has no name"),
        (("{duration: 4h, ", "{"), ":19: window.duration", "is missing"),
        (("duration: 4h", "start: +1h, duration: 4h"), ":19: window.start", "is found out"),
        (("not_after: +2d", "not_after: +4h"), ":19: window.not_after", "leaves less than 4h"),
        (("on_end: keep_power_off", "on_end: burn"), ":3: on_end", "Invalid enum value"),
        (("ending_notice: 30m", "ending_notice: soon"), ":4: ending_notice", "not a span"),
    ],
)
def test_what_makes_no_sense_is_named_with_its_line(
    tmp_path: Path, change: tuple[str, str], where: str, problem: str
) -> None:
    source = write(tmp_path, WHOLE.replace(*change))
    with pytest.raises(InvalidArgument, match=problem) as caught:
        read_request(source, NOW)
    assert caught.value.violations[0].field == source + where


def test_a_duration_alone_is_the_earliest_that_fits(tmp_path: Path) -> None:
    text = "groups: [{resources: {machine: 1}}]\nwindow: {duration: 2h}\n"
    request = read_request(write(tmp_path, text), NOW).request
    assert request is not None
    assert request.window == v1.Span(duration=timedelta(hours=2))


def test_a_file_of_several_requests_keeps_their_order(tmp_path: Path) -> None:
    text = "name: a\ngroups: [{name: x}]\n---\nname: b\ngroups: [{name: x}]\n"
    source = write(tmp_path, text)
    assert [one.name for one in read_requests(source, NOW)] == ["a", "b"]
    with pytest.raises(InvalidArgument, match="2 documents"):
        read_request(source, NOW)


def test_options_lie_over_the_file(tmp_path: Path) -> None:
    asked = Asked(
        start="+1h",
        duration="2h",
        isolate=True,
        policy="spread",
        ending_notice="0",
        file=write(tmp_path, WHOLE),
    )
    claim = asked.request(NOW)
    assert claim.ending_notice == timedelta(0)
    assert claim.on_end == "keep_power_off"
    assert claim.request is not None
    assert claim.request.policy == "spread"
    start = NOW + timedelta(hours=1)
    assert claim.request.window == v1.Span(start=start, end=start + timedelta(hours=2))
    assert [one.values for one in claim.request.isolate] == [["server"], ["server", "place"]]


def test_isolated_instances_of_options_have_a_name_to_go_by() -> None:
    asked = Asked(classes=["machine=1"], count=3, isolate=True)
    request = asked.request(NOW).request
    assert request is not None
    assert [group.name for group in request.groups] == [request.isolate[0].values[0]]


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        (("policy: pack", "spread: [[server]]"), ":8: spread", "not a key that is known"),
        (("count: 4", "in_forest: true"), ":3: groups[0].in_forest", "not a key"),
        (("count: 4", "count: many"), ":3: groups[0].count", "Expected `int`"),
        (("count: 4", "count: 0"), ":3: groups[0].count", "at least 1"),
        (("64GiB", "lots"), ":4: groups[0].resources.memory", "not an amount"),
        (("duration: 4h", "duration: 4x"), ":7: window.duration", "not a span"),
        (("count: 4", "count: 4\n    count: 5"), ":4: groups[0].count", "given twice"),
        (("policy: pack", "policy: [pack"), ":9", "is not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, change: tuple[str, str], where: str, problem: str
) -> None:
    source = write(tmp_path, REQUEST.replace(*change))
    with pytest.raises(InvalidArgument, match=problem) as caught:
        read_request(source, NOW)
    assert caught.value.violations[0].field == source + where


def test_a_window_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="--end"):
        make_window(When("+2h", "+1h"), NOW)


def test_a_window_without_a_start_counts_from_now() -> None:
    assert make_window(When(duration="4h"), NOW) == v1.Window(end=NOW + timedelta(hours=4))


def test_what_to_claim_may_be_said_with_and_without_the_option() -> None:
    asked = Asked(amounts=["machine=1"], classes=["memory=64GiB"]).request(NOW).request
    assert asked is not None
    assert asked.groups[0].resources == {"machine": 1, "memory": 64 << 30}
    with pytest.raises(InvalidArgument, match="say what to claim, such as machine=1"):
        Asked().request(NOW)
