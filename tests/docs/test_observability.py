"""The dashboard and the alert rules name what there is, and every alert says what to do."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import yaml

from mulligan import tracing
from mulligan.services.logs import FIELDS, JsonLines, TextLines

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text()
DASHBOARD = json.loads((ROOT / "packaging" / "grafana" / "mulligan.json").read_text())
RULES = yaml.safe_load((ROOT / "packaging" / "prometheus" / "alerts.yml").read_text())
METRIC = re.compile(r"\bmulligan_\w+")
ROW = re.compile(r"^\| `(mulligan_\w+)` \| (\w+) \|", re.MULTILINE)


def exposed() -> set[str]:
    """Return the names that Prometheus shows, of the metrics that are documented."""
    names: set[str] = set()
    for name, kind in ROW.findall((ROOT / "docs" / "metrics.md").read_text()):
        match kind:
            case "counter":
                names.add(f"{name}_total")
            case "histogram":
                names |= {f"{name}_{part}" for part in ("bucket", "count", "sum")}
            case _:
                names.add(name)
    return names


def panels() -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    """Return the rules."""
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def test_the_dashboard_and_the_alerts_name_metrics_that_there_are() -> None:
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    queries += [rule["expr"] for rule in alerts()]
    named = {name for query in queries for name in METRIC.findall(query)}
    assert named - exposed() == set()
    assert len(named) > 40


def test_the_dashboard_is_one() -> None:
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= DASHBOARD.keys()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["title"]
        assert panel["targets"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_every_alert_has_a_section_that_says_what_to_do_and_no_section_lacks_its_alert() -> None:
    sections = re.findall(r"^### (Mulligan\w+)$", PAGE, re.MULTILINE)
    assert sorted(sections) == sorted(rule["alert"] for rule in alerts())
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        link = f"docs/observability.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == link


def test_lines_in_json_have_the_fields_that_are_documented() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \|", PAGE, re.MULTILINE)
    documented = {name: where for names, where in rows for name in re.findall(r"`(\w+)`", names)}
    assert tuple(name for name, where in documented.items() if where == "every line") == FIELDS
    trace = "0af7651916cd43dd8448eb211c80319c"
    record = logging.makeLogRecord({"msg": "it happened", "levelname": "INFO", "seconds": 3})
    with (
        tracing.following(f"00-{trace}-b7ad6b7169203331-01"),
        tracing.concerning(machine="m", action="a", step="power_on"),
    ):
        line = json.loads(JsonLines("executor").format(record))
        text = TextLines().format(record)
    assert tuple(line)[: len(FIELDS)] == FIELDS
    assert set(line) - {"seconds"} <= documented.keys()
    assert (line["trace_id"], line["seconds"], line["step"]) == (trace, "3", "power_on")
    assert text.endswith(
        f"it happened  trace_id={trace} machine=m action=a step=power_on seconds=3"
    )


def test_a_fact_cannot_pass_for_a_field_of_every_line() -> None:
    record = logging.makeLogRecord({"msg": "it happened", "levelname": "INFO", "at": "never"})
    assert json.loads(JsonLines("iam").format(record))["at"] != "never"
