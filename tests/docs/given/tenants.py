"""Pages about people and what they hold: accounts, claims, tags, the audit."""

from collections.abc import Mapping

from tests.docs.given.common import CLAIM, NODES, available, project
from tests.docs.guide import Guide

_KEYSTONE = {
    "domains": '{"domains": [{"id": "default", "name": "Default"}]}',
    "projects": '{"projects": [{"id": "11111111111111111111111111111111", "name": "red",'
    ' "domain_id": "default", "parent_id": "default"}]}',
    "users": '{"users": [{"id": "22222222222222222222222222222222", "name": "rita",'
    ' "domain_id": "default", "enabled": true}]}',
    "roles": '{"roles": [{"id": "r1", "name": "member"}]}',
    "role_assignments": '{"role_assignments": [{"role": {"id": "r1"},'
    ' "user": {"id": "22222222222222222222222222222222"},'
    ' "scope": {"project": {"id": "11111111111111111111111111111111"}}}]}',
}
_SECRET = "correct-horse-battery"

GUIDES: Mapping[str, Guide] = {
    "how-to/audit": Guide(
        given=f"""
            {available("node-1")}
            mulligan project create web
            printf {_SECRET} | mulligan account create ada --password-stdin
        """,
        bmcs=1,
    ),
    "how-to/give-people-access": Guide(
        asked={
            "mulligan account create ada": f"{_SECRET}\n{_SECRET}",
            "mulligan login ada --project web": _SECRET,
            "mulligan passwd": f"{_SECRET}\n{_SECRET}-new\n{_SECRET}-new",
            "mulligan login ada/ci": "$(sed -n 's/^secret: //p' $LAST)",
        },
        bmcs=0,
    ),
    "how-to/import-from-keystone": Guide(
        given="\n".join(
            ("mkdir ../web/v3", *(f"echo '{v}' > ../web/v3/{k}" for k, v in _KEYSTONE.items()))
        )
        + "\nexport TOKEN=t OS_AUTH_URL=https://images.example",
        bmcs=1,
    ),
    "how-to/reserve-capacity": Guide(
        given=f"""
            {available(*(f"node-{number}" for number in range(1, 9)))}
            mulligan group create rack-1
            mulligan group create rack-7
            mulligan group add rack-1 node-1 node-2 node-3 node-4 node-5 node-6 node-7 node-8
            mulligan provider cordon node-1 --note "kept for what names it"
            mulligan provider cordon node-2 --note "kept for what names it"
            {project("physics")}
            echo 'groups: [{{name: g, resources: {{machine: 1}}}}]' > request.yaml
        """,
        before={
            "mulligan claim move": """
                export HELD=$(mulligan claim show tonight | \\
                    sed -n 's/^allocations *\\([^ ]*\\).*/\\1/p')
            """,
            "mulligan claim exact": """
                mulligan provider uncordon node-1
                mulligan provider uncordon node-2
            """,
        },
        instead={"--from node-1": "--from $HELD"},
        bmcs=8,
    ),
    "how-to/tag-and-describe": Guide(
        given=f"""
            {NODES}
            mulligan project create web
            mulligan account bind admin owner --on web
            {CLAIM} --project web
        """,
        bmcs=4,
    ),
}
