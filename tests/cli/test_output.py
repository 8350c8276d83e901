import io
import json
from datetime import UTC, datetime

from mulligan.cli.machine_description import WHOLE, WHOLE_WIDE
from mulligan.cli.machine_view import COLUMNS, HISTORY, HISTORY_WIDE, why_shown
from mulligan.cli.output import Column, Format, Output, plain
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


def described(machine: v1.Machine) -> list[str]:
    out = io.StringIO()
    Output(Format.WIDE, out=out).one(machine, WHOLE_WIDE)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_a_machine_is_described_in_full() -> None:
    at = datetime(2027, 1, 31, 8, tzinfo=UTC)
    facts = v1.Facts(
        manufacturer="Dell",
        model="R760",
        accelerators=[v1.Accelerator(id="g1", kind="GPU", vendor="NVIDIA", model="H100")],
        firmware=[v1.Firmware(name="BIOS", version="2.1")],
        boot_modes=["UEFI"],
        http_boot=True,
        tpm="2.0",
        power_supplies=2,
        memory_bytes=2**36,
        memory_modules=8,
        memory_ecc=True,
    )
    lines = described(
        v1.Machine(
            name="node-1",
            state=v1.MachineState.ACTIVE,
            power=v1.PowerStatus(observed="off", desired="on"),
            cordon=v1.MachineCordon(reason="fan", by="ada", until=at, maintenance=True),
            health=v1.HealthStatus(
                health="warning",
                conditions=[v1.Condition(component="Fan 2", severity="warning", message="slow")],
            ),
            cleaned=v1.Cleaning(
                at=at,
                profile="dell",
                steps=["wipe"],
                disks=[
                    v1.DiskProof(serial="S1", method="nvme-format", bytes=2**40, verified=True),
                    v1.DiskProof(serial="S2", method="zero", bytes=2**40, error="I/O error"),
                ],
            ),
            host_keys={"ssh-ed25519": "SHA256:abc"},
            unwiped=True,
            facts=facts,
            bmc=v1.Bmc(address="https://b", system="1", pin=True),
        )
    )
    for line in (
        "state active, maintenance",
        "power off (to be on)",
        "health warning",
        "warning: Fan 2 slow",
        "kept on",
        "cordon fan, by ada, until 2027-01-31 08:00:00Z, in maintenance: nothing is asked of the "
        "BMC",
        "unwiped data may be on its disks",
        "cleaned 2027-01-31 08:00:00Z by profile dell: wipe",
        "disk S1: nvme-format 1 TiB, verified",
        "disk S2: zero 1 TiB, I/O error",
        "bmc https://b system 1",
        "to be pinned at first contact",
        "64 GiB memory in 8 modules, ECC",
        "gpu g1 NVIDIA H100",
        "TPM 2.0, power supplies: 2",
        "boot UEFI; HTTP boot",
        "firmware BIOS 2.1",
        "host keys ssh-ed25519 SHA256:abc",
    ):
        assert line in lines


def test_what_a_bmc_wrote_to_steer_terminals_is_shown_to_people_as_text() -> None:
    out = io.StringIO()
    evil = v1.Machine(name="node-1", facts=v1.Facts(model="R1\x1b]0;owned\x07"))
    Output(Format.WIDE, out=out).rows([evil], COLUMNS)
    assert "\x1b" not in out.getvalue()
    assert "R1\N{REPLACEMENT CHARACTER}]0;owned" in out.getvalue()


def test_a_long_detail_of_the_history_is_cut_unless_all_is_asked_for() -> None:
    cause = v1.Cause(what="came out as done", detail="a\nb " + "x" * 200)
    narrow, wide = io.StringIO(), io.StringIO()
    Output(Format.TABLE, out=narrow).rows([cause], HISTORY)
    Output(Format.WIDE, out=wide).rows([cause], HISTORY_WIDE)
    assert narrow.getvalue().rstrip().endswith("x…")
    assert wide.getvalue().rstrip().endswith("x" * 200)


def test_what_is_called_nothing_goes_by_what_stands_first() -> None:
    out = io.StringIO()
    shown = Output(Format.NAME, out=out)
    shown.rows([v1.Position(region="east", seq=7)], [Column("ENTRY", lambda one: str(one.seq))])
    assert out.getvalue() == "7\n"


def test_a_record_goes_by_its_name_where_names_are_asked_for() -> None:
    out = io.StringIO()
    Output(Format.NAME, out=out).record(v1.LogRecord(commit="c-1"), "#1 and more")
    assert out.getvalue() == "c-1\n"
