"""The top-level folders are one package: `events/` is `mulligan.events`, and so on."""

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
LINKED = ("events", "handlers", "projections", "proto")


def settings() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages_on_disk() -> set[str]:
    """Every folder of Python modules, by the name it is imported under."""
    found = {"mulligan"}
    for top in ("mulligan", *LINKED):
        for folder, children, files in os.walk(ROOT / top):
            children[:] = [name for name in children if name != "__pycache__"]
            if any(name.endswith(".py") for name in files):
                parts = Path(folder).relative_to(ROOT).parts
                found.add(".".join(parts if top == "mulligan" else ("mulligan", *parts)))
    return found


@pytest.mark.parametrize("name", LINKED)
def test_a_relative_link_shows_each_folder_inside_the_package(name: str) -> None:
    link = ROOT / "mulligan" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"
    assert (link / "__init__.py").samefile(ROOT / name / "__init__.py")


def test_setuptools_maps_exactly_the_linked_folders() -> None:
    mapped = settings()["tool"]["setuptools"]["package-dir"]
    assert mapped == {f"mulligan.{name}": name for name in LINKED}


def test_the_package_list_is_what_is_on_disk() -> None:
    listed = settings()["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(packages_on_disk())
    assert listed == sorted(listed)


def test_every_package_has_an_init_module() -> None:
    for name in packages_on_disk():
        folder = ROOT.joinpath(*name.split("."))
        assert (folder / "__init__.py").is_file(), name


@pytest.mark.parametrize("name", LINKED)
def test_a_bare_import_of_a_folder_is_refused(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", f"import {name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 1
    assert f"AssertionError: import it as mulligan.{name}" in run.stderr


@pytest.mark.parametrize("name", LINKED)
def test_the_linter_refuses_a_bare_import_too(name: str) -> None:
    run = subprocess.run(
        ["ruff", "check", "--no-cache", "--select=TID251", "--stdin-filename=mulligan/x.py", "-"],
        executable=Path(sys.executable).parent / "ruff",
        cwd=ROOT,
        input=f"from {name} import thing\nimport {name}.thing\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 1
    assert run.stdout.count("TID251") == 2


@pytest.mark.parametrize("name", LINKED)
def test_a_linked_folder_is_imported_from_the_work_tree(name: str) -> None:
    module = importlib.import_module(f"mulligan.{name}")
    assert module.__file__ is not None
    assert Path(module.__file__).samefile(ROOT / name / "__init__.py")


def test_the_type_checker_reads_every_folder_of_code() -> None:
    folders = {"mulligan", "tests", "benchmarks"}
    present = {name for name in folders if any((ROOT / name).rglob("*.py"))}
    assert set(settings()["tool"]["mypy"]["packages"]) == present
