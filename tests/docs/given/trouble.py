"""Pages about what is wrong, what was, and what somebody breaks on purpose."""

from collections.abc import Mapping

from tests.docs.given.common import DAMAGED_IMAGE, NODES, RIGHT_IMAGE, available, project
from tests.docs.guide import Guide
from tests.docs.pages import ROOT

GUIDES: Mapping[str, Guide] = {
    "how-to/find-out-why": Guide(given=NODES, bmcs=4),
    "how-to/look-into-the-past": Guide(
        given=f"""
            {available("node-7")}
            echo 'groups: [{{name: g, resources: {{machine: 1}}}}]' > request.yaml
        """,
        bmcs=1,
        instead={
            "-2h": "-1s",
            "2026-11-20T14:00": "$(date --utc +%FT%TZ)",
            "48211": "12",
        },
    ),
    "how-to/stop-the-blast": Guide(
        given=f"""
            {NODES}
            {project("web")}
            mulligan claim make --class machine=1 --count 4 --for 2h --name build
            {DAMAGED_IMAGE}
            ! mulligan machine deploy build --machine node-1 --image late --wait
            ! mulligan machine deploy build --machine node-2 --image late --wait
            ! mulligan machine deploy build --machine node-3 --image late --wait
            mulligan brake list | grep rack-7
        """,
        before={
            "mulligan brake release rack-7": RIGHT_IMAGE,
        },
        bmcs=4,
        after="test $(mulligan machine list --state active -o name | wc -l) = 3",
    ),
    "how-to/try-a-faulty-bmc": Guide(
        files={"faults.yaml": "rules:"},
        instead={
            ".venv/bin/python": f"env --chdir={ROOT} python",
            "faults.yaml": "$PWD/faults.yaml",
        },
        endless=frozenset({".venv/bin/python"}),
        region=False,
    ),
}
