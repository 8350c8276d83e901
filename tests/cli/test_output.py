import io
import json
from datetime import UTC, datetime

from mulligan.cli.machine_description import WHOLE
from mulligan.cli.machine_view import COLUMNS, why_shown
from mulligan.cli.output import Format, Output, plain
from mulligan.proto import v1


def machine() -> v1.Machine:
    return v1.Machine(
        uuid="m-1",
        name="node-1",
        state=v1.MachineState.FAILED,
        failed_operation="deploy",
        fault=v1.Fault(fault="timeout", message="no phone-home", step="boot"),
        facts=v1.Facts(memory_bytes=2**36, disks=[v1.Disk(id="sda", bytes=2**40, media="SSD")]),
        created_at=datetime(2027, 1, 31, 8, 0, 0, 250_000, tzinfo=UTC),
    )


def printed(form: Format) -> str:
    out = io.StringIO()
    Output(form, out=out).rows([machine()], COLUMNS)
    return out.getvalue()


def test_json_is_stable_and_typed() -> None:
    (found,) = json.loads(printed(Format.JSON))
    assert found["state"] == "failed"
    assert found["created_at"] == "2027-01-31T08:00:00.250000Z"
    assert found["facts"]["memory_bytes"] == 2**36
    assert found["operation"] is None
    assert list(found) == list(plain(v1.Machine()))


def test_a_table_has_no_trailing_blanks_and_wide_has_more() -> None:
    narrow, wide = printed(Format.TABLE).splitlines(), printed(Format.WIDE).splitlines()
    assert narrow[1].split() == [
        "node-1",
        "failed(deploy)",
        "-",
        "-",
        "-",
        "-",
        *["timeout:", "no", "phone-home"],
    ]
    assert all(line == line.rstrip() for line in narrow)
    assert "UUID" not in narrow[0]
    assert "UUID" in wide[0]


def test_an_empty_list_is_noted_for_people_and_empty_for_programs() -> None:
    out, err = io.StringIO(), io.StringIO()
    Output(Format.TABLE, out=out, err=err).rows([], COLUMNS, "no machines")
    assert (out.getvalue(), err.getvalue()) == ("", "no machines\n")
    Output(Format.JSON, out=out, err=err).rows([], COLUMNS)
    assert json.loads(out.getvalue()) == []


def test_an_object_is_described_a_line_a_topic() -> None:
    out = io.StringIO()
    Output(Format.TABLE, out=out).one(machine(), WHOLE)
    assert "disk sda 1 TiB SSD" in out.getvalue()
    assert "64 GiB memory" in out.getvalue()


def test_why_ends_with_what_is_waited_for() -> None:
    why = v1.WhyMachineResponse(
        summary="node-1 is deploying",
        waiting_for="its phone-home",
        chain=[v1.Cause(what="DeployMachine", position=v1.Position(region="here", seq=7))],
    )
    assert why_shown(why).splitlines() == [
        "node-1 is deploying",
        "├─ DeployMachine  [#7]",
        "└─ waiting for its phone-home",
    ]
