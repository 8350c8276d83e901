from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mulligan.cli.request import read_request
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
