"""What a release's protos promised still holds, and each way of breaking it is found and named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet, MethodOptions

from mulligan.proto import compatibility
from mulligan.proto.compatibility import breaks, surface
from mulligan.proto.descriptors import descriptor_set

RELEASED = (compatibility.RELEASED / "0.1.0.binpb").read_bytes()


def part(files: FileDescriptorSet, name: str) -> Any:
    """Return a message, enum, service, field or method by its dotted name."""
    first, *rest = name.split(".")
    mine = [file for file in files.file if file.package == "mulligan.v1"]
    kinds: list[Any] = [(*f.message_type, *f.enum_type, *f.service) for f in mine]
    (found,) = (one for kind in kinds for one in kind if one.name == first)
    for word in rest:
        parts: list[Any] = [getattr(found, kind, ()) for kind in ("field", "value", "method")]
        (found,) = (one for kind in parts for one in kind if one.name == word)
    return found


def without(parts: Any, name: str) -> None:
    (place,) = (place for place, one in enumerate(parts) if one.name == name)
    del parts[place]


def found(change: Callable[[FileDescriptorSet], object], **accepted: str) -> list[str]:
    """Return what is broken after a change of what was released."""
    files = FileDescriptorSet.FromString(RELEASED)
    change(files)
    by_rpc = {name.replace("__", "."): permission for name, permission in accepted.items()}
    return list(breaks(surface(RELEASED), surface(files.SerializeToString()), by_rpc))


def set_to(name: str, /, **values: Any) -> Callable[[FileDescriptorSet], None]:
    def change(files: FileDescriptorSet) -> None:
        for attribute, value in values.items():
            setattr(part(files, name), attribute, value)

    return change


def test_todays_protos_keep_what_the_last_release_promised() -> None:
    assert compatibility.main([]) == 0
    assert list(breaks(surface(RELEASED), surface(descriptor_set()))) == []


def test_a_release_is_compatible_with_itself() -> None:
    assert found(lambda files: None) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda f: without(part(f, "Machine").field, "uuid"),
            "Machine.uuid: the field is gone; put it back",
        ),
        (
            set_to("Machine.uuid", number=999),
            "Machine.uuid: was number 1 and is 999; give it its number back",
        ),
        (
            set_to("Machine.uuid", name="id"),
            "Machine.uuid: number 1 is id now; give it its name back",
        ),
        (
            set_to("Machine.uuid", type=FieldDescriptorProto.TYPE_BYTES),
            "Machine.uuid: was string and is bytes; add a new field instead",
        ),
        (
            set_to("Machine.uuid", label=FieldDescriptorProto.LABEL_REPEATED),
            "Machine.uuid: was single and is repeated; add a new field instead",
        ),
        (
            set_to("Machine.uuid", json_name="Id"),
            "Machine.uuid: its JSON name was uuid and is Id; put it back",
        ),
        (
            lambda f: without(part(f, "PowerTarget").value, "POWER_TARGET_OFF"),
            "PowerTarget.POWER_TARGET_OFF: the value is gone; put it back",
        ),
        (
            set_to("PowerTarget.POWER_TARGET_OFF", name="POWER_TARGET_DOWN"),
            "is POWER_TARGET_DOWN now; give it its name back",
        ),
        (
            lambda f: without(part(f, "Control").method, "PowerMachine"),
            "Control.PowerMachine: the RPC is gone; put it back",
        ),
        (
            set_to("Control.PowerMachine", server_streaming=True),
            "and gives a stream of MachineResponse; add another RPC instead",
        ),
        (
            set_to("Control.PowerMachine", input_type=".mulligan.v1.MachineRequest"),
            "took PowerMachineRequest and takes MachineRequest",
        ),
        (
            lambda f: part(f, "Control.GetMachine").options.ClearField("idempotency_level"),
            "Control.GetMachine: had no side effects",
        ),
    ],
)
def test_each_way_to_break_a_client_is_named_with_its_fix(
    change: Callable[[FileDescriptorSet], None], expected: str
) -> None:
    (line,) = found(change)
    assert expected in line


def test_a_message_and_a_service_that_are_gone_are_missed() -> None:
    def change(files: FileDescriptorSet) -> None:
        for file in files.file:
            if any(one.name == "Projector" for one in file.service):
                without(file.service, "Projector")

    lines = found(change)
    assert lines
    assert all(line.startswith("Projector.") and "the RPC is gone" in line for line in lines)


def test_what_a_release_reserved_is_not_used_again() -> None:
    released = FileDescriptorSet.FromString(RELEASED)
    machine = part(released, "Machine")
    machine.reserved_range.add(start=900, end=902)
    machine.reserved_name.append("rack_slot")
    now = FileDescriptorSet.FromString(RELEASED)
    for name, number in (("shade", 901), ("rack_slot", 902)):
        part(now, "Machine").field.add(
            name=name,
            number=number,
            type=FieldDescriptorProto.TYPE_STRING,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
        )
    old, new = surface(released.SerializeToString()), surface(now.SerializeToString())
    assert list(breaks(old, new)) == [
        "Machine.shade: number 901 is reserved; take a free one",
        "Machine.rack_slot: the name is reserved; take another one",
    ]


def test_another_permission_is_a_break_until_it_is_said_to_be_meant() -> None:
    def change(files: FileDescriptorSet) -> None:
        options = part(files, "Control.PowerMachine").options
        raw = options.SerializeToString().replace(b"machines.use", b"machines.own")
        options.CopyFrom(MethodOptions.FromString(raw))

    (line,) = found(change)
    assert '"Control.PowerMachine" = "control.machines.own"' in line
    assert found(change, Control__PowerMachine="control.machines.own") == []


def test_fields_rpcs_and_enum_values_may_be_added() -> None:
    def change(files: FileDescriptorSet) -> None:
        part(files, "PowerTarget").value.add(name="POWER_TARGET_DIM", number=77)
        part(files, "Control").method.add(
            name="PolishMachine",
            input_type=".mulligan.v1.MachineRequest",
            output_type=".mulligan.v1.MachineResponse",
        )
        part(files, "Machine").field.add(
            name="shade",
            number=900,
            type=FieldDescriptorProto.TYPE_STRING,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
        )

    assert found(change) == []


def test_a_release_is_kept_once_and_compared_with_from_then_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = f"--released={tmp_path}"
    assert compatibility.main([where, "--release", "0.9.0"]) == 0
    assert compatibility.main([where, "--release", "0.10.0"]) == 0
    assert compatibility.releases(tmp_path) == ["0.9.0", "0.10.0"]
    with pytest.raises(SystemExit):
        compatibility.main([where, "--release", "0.9.0"])
    assert "what was released never changes" in capsys.readouterr().err
    files = FileDescriptorSet.FromString(descriptor_set())
    without(part(files, "Machine").field, "uuid")
    (tmp_path / "now").write_bytes(files.SerializeToString())
    assert compatibility.main([where, f"--descriptors={tmp_path / 'now'}"]) == 1
    assert "Machine.uuid: the field is gone" in capsys.readouterr().err
