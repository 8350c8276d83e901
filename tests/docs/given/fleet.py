"""Pages about machines: enrol, adopt, deploy, rescue, wipe, watch, rotate their passwords."""

from collections.abc import Mapping

from tests.docs.given.common import (
    CLAIM_OF_NODE_1,
    DAMAGED_IMAGE,
    IMAGE,
    NODES,
    RACK,
    RIGHT_IMAGE,
    available,
    enrolled,
    project,
)
from tests.docs.guide import Guide

GUIDES: Mapping[str, Guide] = {
    "how-to/adopt-running-machines": Guide(
        given=f"""
            {RACK}
            mulligan credential create bmc --username root --password-file bmc.password
            mulligan project create research
            echo name,address,credential,pin > running.csv
            echo old-1,https://192.0.2.1,bmc,true >> running.csv
            echo old-2,https://192.0.2.2,bmc,true >> running.csv
        """,
        bmcs=2,
        after="test $(mulligan --project research machine list --state active -o name | wc -l) = 2",
    ),
    "how-to/deploy-an-image": Guide(
        given=f"""
            {available("node-1")}
            {project("web")}
            {CLAIM_OF_NODE_1}
            printf '#cloud-config\\n{{}}\\n' > web.yaml
        """,
        before={
            "mulligan machine retry node-1": f"""
                mulligan machine release node-1 --yes --wait
                {CLAIM_OF_NODE_1}
                {DAMAGED_IMAGE}
                ! mulligan machine deploy build --image late --wait
                {RIGHT_IMAGE}
            """,
        },
        bmcs=1,
        after="mulligan machine wait node-1 --for available",
    ),
    "how-to/enrol-a-rack": Guide(
        given=RACK,
        instead={"bmc-9.example:8443": "127.0.2.9:8443"},
        before={
            "mulligan machine scan 192.0.2.0/26 --credential": """
                mulligan machine wait rack7-03 rack7-04 --for manageable
                mulligan machine retire rack7-03 rack7-04 --yes
                mulligan machine delete rack7-03 rack7-04 --yes
            """,
        },
        bmcs=4,
        after="""
            mulligan machine list; test $(mulligan machine list --state available -o name \\
                | wc -l) = 4
        """,
    ),
    "how-to/enrol-machines": Guide(
        given=f"""
            {RACK}
            mulligan credential create rack-7-new --username root --password-file bmc.password
        """,
        bmcs=1,
        after="test -z $(mulligan machine list -o name)",
    ),
    "how-to/rescue-a-machine": Guide(
        given=f"""
            {available("node-1")}
            {project("web")}
            {CLAIM_OF_NODE_1}
            {IMAGE}
            mulligan machine deploy build --image debian --wait
            printf '#cloud-config\\n{{}}\\n' > rescue-keys.yaml
        """,
        bmcs=1,
    ),
    "how-to/rotate-bmc-passwords": Guide(
        given=enrolled("node-1", "node-2", credential="rack-7")
        + "mulligan machine inspect --state enrolled --yes --wait",
        bmcs=2,
        after="mulligan machine inspect --state manageable --yes --wait",
    ),
    "how-to/watch-hardware-health": Guide(given=NODES, bmcs=4),
    "how-to/wipe-disks": Guide(
        given=f"""
            {enrolled("node-1")}
            mulligan machine inspect node-1 --wait
            head -c 1M /dev/zero > $STATE/images/wiper.iso
        """,
        before={"mulligan machine show node-1": "mulligan machine provide node-1 --wait"},
        bmcs=1,
        after="mulligan machine show node-1 | grep nvme-format",
    ),
}
