"""What each guide takes as given, by its page."""

from collections.abc import Mapping

from tests.docs.bmcs import PASSWORD
from tests.docs.guide import Guide

RACK = f"""
    mulligan provider create rack-7
    printf {PASSWORD} > bmc.password
"""


def _enrol(number: int) -> str:
    where = f"--bmc https://192.0.2.{number} --credential bmc --pin --parent rack-7"
    return f"mulligan machine enrol node-{number} {where}\n"


ENROLLED = f"""
    {RACK}
    mulligan credential create bmc --username root --password-file bmc.password
    {"".join(_enrol(n) for n in range(1, 5))}
"""
MACHINES = f"""
    {ENROLLED}
    mulligan machine inspect --state enrolled --yes --wait
    mulligan machine provide --state manageable --yes --wait
"""


def project(name: str) -> str:
    """Return the commands that make a project and work in it from then on."""
    return f"""
    mulligan project create {name}
    export MULLIGAN_PROJECT={name}
    """


ZEROS = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58"
IMAGE = f"mulligan image create debian --url https://images.example/debian.iso --sha256 {ZEROS}"
CLAIM = "mulligan claim make --class machine=1 --for 2h --name build"

GUIDES: Mapping[str, Guide] = {
    "enrol-machines": Guide(
        given=f"""
            {RACK}
            mulligan credential create rack-7-new --username root --password-file bmc.password
        """,
        bmcs=1,
    ),
    "deploy-an-image": Guide(
        given=f"""
            {MACHINES}
            {project("web")}
            {CLAIM}
            printf '#cloud-config\\n{{}}\\n' > web.yaml
        """,
        bmcs=4,
    ),
    "tag-and-describe": Guide(given=f"{MACHINES}{project('web')}{CLAIM}", bmcs=4),
    "find-out-why": Guide(given=MACHINES, bmcs=4),
}
