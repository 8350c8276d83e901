"""The generated code is what the `.proto` files say, and says who may call what."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from mulligan.proto import generate, v1
from mulligan.proto.descriptors import descriptor_set

OPTIONS = """
syntax = "proto3";
package mulligan.v1;
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions { string permission = 50001; }
"""
ECHO = """
syntax = "proto3";
package mulligan.v1;
import "mulligan/v1/options.proto";
message Word { string text = 1; }
service Echo {
  rpc Say(Word) returns (Word) { option (mulligan.v1.permission) = "echo.say"; }
  rpc Hear(Word) returns (stream Word) { PERMISSION }
}
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources" / "mulligan" / "v1"
    folder.mkdir(parents=True)
    (folder / "options.proto").write_text(OPTIONS)
    return tmp_path / "sources"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "generated"


def write_echo(sources: Path, permission: str) -> None:
    text = ECHO.replace("PERMISSION", permission)
    (sources / "mulligan" / "v1" / "echo.proto").write_text(text)


def run(sources: Path, target: Path, *flags: str) -> int:
    return generate.main([f"--sources={sources}", f"--target={target}", *flags])


def rpc_paths() -> Iterator[str]:
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file:
        for service in file.service:
            if file.package == "mulligan.v1":
                yield from (f"/{file.package}.{service.name}/{m.name}" for m in service.method)


def test_the_committed_code_is_what_the_proto_files_say() -> None:
    assert generate.main(["--check"]) == 0


def test_every_rpc_names_its_permission() -> None:
    paths = set(rpc_paths())
    assert paths
    assert paths == v1.PERMISSIONS.keys()
    assert all(v1.PERMISSIONS.values())


def test_generating_again_changes_nothing(sources: Path, target: Path) -> None:
    write_echo(sources, 'option (mulligan.v1.permission) = "echo.hear";')
    assert run(sources, target) == 0
    assert run(sources, target, "--check") == 0
    written = (target / "permissions.py").read_text()
    assert '"/mulligan.v1.Echo/Hear": "echo.hear",' in written


def test_code_that_was_edited_left_over_or_lost_is_out_of_date(
    sources: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(sources, target)
    (target / "permissions.py").write_text("PERMISSIONS = {}\n")
    (target / "left_over.py").touch()
    (target / "descriptors.binpb").unlink()
    assert run(sources, target, "--check") == 1
    complaint = capsys.readouterr().err
    for name in ("permissions.py", "left_over.py", "descriptors.binpb"):
        assert f"{target / name} is out of date" in complaint


def test_an_rpc_without_a_permission_is_refused_by_name(
    sources: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_echo(sources, "")
    assert run(sources, target) == 2
    assert "/mulligan.v1.Echo/Hear" in capsys.readouterr().err
    assert not target.exists()


def test_a_proto_file_that_does_not_compile_is_refused_with_its_place(
    sources: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_echo(sources, "nonsense")
    assert run(sources, target) == 2
    assert "mulligan/v1/echo.proto:8" in capsys.readouterr().err
