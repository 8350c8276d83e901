"""Pages about what is wrong, what was, and what somebody breaks on purpose."""

from collections.abc import Mapping

from tests.docs.given.common import (
    DAMAGED_IMAGE,
    IMAGE,
    NODES,
    available,
    enrolled,
    project,
)
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
            {IMAGE}
            mulligan claim make --class machine=1 --count 4 --for 2h --name build
            echo changed-by-somebody > wrong.password
            mulligan credential create wrong --username root --password-file wrong.password
            mulligan machine update --under rack-7 --credential wrong --yes
            ! mulligan machine deploy build --machine node-1 --image debian --wait
            ! mulligan machine deploy build --machine node-2 --image debian --wait
            ! mulligan machine deploy build --machine node-3 --image debian --wait
            until mulligan brake list | grep rack-7; do sleep 0.1; done
        """,
        before={
            "mulligan brake release rack-7": """
                mulligan machine update --under rack-7 --credential bmc --yes
            """,
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
    "cli": Guide(
        given=f"""
            {enrolled("node-1", "node-2", "node-3")}
            mulligan machine inspect --state enrolled --yes --wait
            {project("web")}
        """,
        before={
            "mulligan machine retry": f"""
                mulligan claim make --class machine=1 --count 3 --for 2h --name build
                {DAMAGED_IMAGE}
                ! mulligan machine deploy build --machine node-1 --image late --wait
            """,
        },
        bmcs=3,
    ),
    "console": Guide(
        elsewhere={
            "mulligan console --web": "tests/browser/test_console.py",
            "mulligan console": "tests/console/test_app.py",
        },
        region=False,
    ),
    "simulation": Guide(elsewhere={"nox -s simulate": "noxfile.py"}, region=False),
    "how-to/try-before-you-do": Guide(
        given=f"""
            {available("node-1", "node-2")}
            mulligan provider create rack-7-shelf-1 --parent rack-7
            mulligan provider create rack-7-shelf-2 --parent rack-7
            {project("web")}
        """,
        bmcs=2,
    ),
    "other-languages": Guide(
        elsewhere={
            "cd proto/clients/typescript": "tests/clients/parts.py",
            "npm": "tests/clients/parts.py",
        },
        region=False,
    ),
}
