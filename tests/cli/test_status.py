"""How ``mulligan status`` prints what it finds."""

import io

from mulligan.cli.output import Format, Output
from mulligan.cli.status import archive_shown, print_status
from mulligan.diagnosis.found import Seen, Status
from mulligan.diagnosis.problem import critical
from mulligan.proto.v1 import ArchiveStatus, Endpoint, Instance

GIB = 2**30


def test_the_archive_is_told_in_one_line() -> None:
    shown = archive_shown(ArchiveStatus(sealed=5, copied=7, store_used_bytes=GIB))
    assert shown.startswith("sealed up to 5, copied up to 7; etcd uses 1")


def test_who_leads_stands_beside_its_instance_and_each_problem_above_its_next_step() -> None:
    text = io.StringIO()
    found = Status(
        services=[Endpoint(service="projector", instance=f"projector-{n}") for n in (1, 2)],
        instances=[
            Seen(Instance(instance="projector-1", leads=["read-models"]), 0.0),
            Seen(Instance(instance="projector-2", stands_by=True), 0.0),
        ],
        problems=[critical("etcd", "it has no leader", "etcdctl endpoint status")],
    )
    print_status(Output(Format.TABLE, out=text), found)
    heading, first, second, *_, problem, step = text.getvalue().splitlines()
    assert heading.endswith("LEADS")
    assert first.endswith("read models")
    assert second.endswith("stands by")
    assert problem == "critical: etcd: it has no leader"
    assert step == "  next: etcdctl endpoint status"
