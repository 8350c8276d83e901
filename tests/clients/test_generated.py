"""The clients in other languages are what the `.proto` files say, and can be built anywhere."""

import json
import re
import shutil
from pathlib import Path

import pytest

from mulligan import __version__
from mulligan.proto import v1
from mulligan.proto.clients import generate
from mulligan.proto.clients.figures import FigureMissing, read_figures
from tests.clients.drivers import methods
from tests.clients.parts import GO, TYPESCRIPT

CLIENTS = generate.FOLDER


def test_the_committed_clients_are_what_the_proto_files_say() -> None:
    assert generate.main(["--check"]) == 0


def test_edited_and_left_over_code_is_out_of_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "clients"
    shutil.copytree(CLIENTS, copy, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (copy / "typescript" / "src" / "calls.ts").write_text("export {};\n")
    (copy / "go" / "left_over.go").write_text("package mulligan\n")
    message = copy / "typescript" / "src" / "gen" / "mulligan" / "v1" / "log_pb.ts"
    message.write_text("export {};\n")
    assert generate.main(["--check", f"--target={copy}"]) == 1
    complaint = capsys.readouterr().err
    assert "calls.ts is out of date" in complaint
    assert "left_over.go is left over" in complaint
    assert "src/gen was edited" in complaint


def test_messages_of_older_proto_files_are_out_of_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "clients"
    shutil.copytree(CLIENTS, copy, ignore=shutil.ignore_patterns("node_modules", "dist"))
    record = generate.read_record(copy)
    record["typescript"]["made_from"] = "others"
    (copy / generate.RECORD).write_text(json.dumps(record))
    assert generate.main(["--check", f"--target={copy}"]) == 1
    assert "was made from other .proto files" in capsys.readouterr().err


def test_the_tables_say_of_each_method_what_python_s_say() -> None:
    found = {method.route: method for method in methods().values()}
    assert {route: method.permission for route, method in found.items()} == v1.PERMISSIONS
    assert {route for route, method in found.items() if method.reads} == v1.READS


def test_streams_are_resumed_as_their_messages_allow() -> None:
    resumed = {name: one.resume for name, one in methods().items() if one.streaming}
    assert resumed["Log.WatchLog"] == "after"
    assert resumed["Log.ReadLog"] == "first"
    assert resumed["Catalog.WatchEndpoints"] == "whole"
    assert resumed["Log.VerifyLog"] == "again"
    assert {name for name, one in methods().items() if one.endless} >= {
        "Log.WatchLog",
        "Catalog.WatchEndpoints",
    }


def test_a_figure_that_moved_is_found_and_one_that_is_gone_is_named(tmp_path: Path) -> None:
    package = tmp_path / "mulligan"
    (package / "client").mkdir(parents=True)
    shutil.copy(generate.PYTHON / "model.py", package)
    for path in (generate.PYTHON / "client").glob("*.py"):
        shutil.copy(path, package / "client")
    calls = package / "client" / "calls.py"
    text = calls.read_text()
    (package / "client" / "patience.py").write_text("PATIENCE = 15.0\n")
    calls.write_text(re.sub(r"(?m)^PATIENCE = .*$", "", text))
    assert read_figures(package)["PATIENCE"] == 15.0
    (package / "client" / "patience.py").unlink()
    with pytest.raises(FigureMissing, match=r"PATIENCE was in mulligan/client/calls\.py"):
        read_figures(package)


def test_the_lock_of_npm_s_packages_names_no_registry() -> None:
    lock = json.loads((TYPESCRIPT / "package-lock.json").read_text())
    packages = [entry for name, entry in lock["packages"].items() if name]
    assert packages
    assert not [entry for entry in packages if "resolved" in entry]
    assert all(entry["integrity"] for entry in packages)


def test_the_packages_have_the_version_of_the_project() -> None:
    assert json.loads((TYPESCRIPT / "package.json").read_text())["version"] == __version__
    assert (GO / "go.mod").read_text().startswith("module mulligan.example/client\n")
