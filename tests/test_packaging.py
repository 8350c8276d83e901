"""What is built installs `mulligan` and nothing else, however it is installed."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from mulligan import __version__

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
SOURCES = (
    "mulligan", "events", "handlers", "projections", "proto", "tests", "docs",
    "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE",
)  # fmt: skip
DIST_INFO = f"mulligan-{__version__}.dist-info"
LAYERS = ("events", "handlers", "projections", "proto")
PROBE = """
import importlib, sys
sys.path.append(sys.argv[1])
for name in ("mulligan", {layers}, "mulligan.proto.v1"):
    print(importlib.import_module(name).__file__)
from mulligan.proto.descriptors import descriptor_set
assert descriptor_set()
""".format(layers=", ".join(repr(f"mulligan.{name}") for name in LAYERS))


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command with no network and return what it printed; fail the test with its errors."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "UV_OFFLINE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a checkout holds, so that building leaves nothing in the real one."""
    copy = tmp_path_factory.mktemp("packaging") / "tree"
    copy.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source,
                copy / name,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__", "node_modules"),
            )
        else:
            shutil.copy(source, copy / name)
    return copy


def build(source: Path, kind: str, output: Path) -> Path:
    """Build with this environment's setuptools, the version that uv.lock pins."""
    flags = ("--no-build-isolation", "--no-config", "--quiet", f"--python={sys.executable}")
    run(BIN / "uv", "build", kind, *flags, f"--out-dir={output}", source, cwd=output.parent)
    (built,) = [path for path in output.iterdir() if path.name.startswith("mulligan-")]
    return built


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    return build(tree, "--wheel", tree.parent / "wheel")


@pytest.fixture(scope="module")
def sdist(tree: Path) -> Path:
    return build(tree, "--sdist", tree.parent / "sdist")


@pytest.fixture(scope="module")
def wheel_from_sdist(sdist: Path) -> Path:
    return build(sdist, "--wheel", sdist.parent.parent / "wheel-from-sdist")


@pytest.fixture(scope="module")
def editable(tree: Path) -> Path:
    output = tree.parent / "editable"
    output.mkdir()
    hook = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
    run(sys.executable, "-c", hook, output, cwd=tree)
    (built,) = output.iterdir()
    return built


class Installed:
    """A fresh environment that holds one built package and none of its dependencies."""

    def __init__(self, package: Path, folder: Path) -> None:
        self.folder = folder
        uv = (BIN / "uv", "--quiet", "--no-config")
        run(*uv, "venv", f"--python={sys.executable}", folder / "env", cwd=folder)
        self.python = folder / "env" / "bin" / "python"
        run(*uv, "pip", "install", "--no-deps", f"--python={self.python}", package, cwd=folder)

    def site_packages(self) -> set[str]:
        """Name what was installed, the environment's own files left out."""
        (site,) = self.folder.glob("env/lib/python*/site-packages")
        return {
            path.name
            for path in site.iterdir()
            if not path.name.startswith(("_virtualenv", "__pycache__"))
        }

    def imported_from(self) -> set[Path]:
        """Import every layer, with the dependencies borrowed, and return where each was found."""
        dependencies = sysconfig.get_path("purelib")
        printed = run(self.python, "-c", PROBE, dependencies, cwd=self.folder)
        return {Path(line).resolve() for line in printed.splitlines()}


@pytest.mark.parametrize("kind", ["wheel", "wheel_from_sdist"])
def test_an_install_owns_nothing_but_mulligan(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    installed = Installed(request.getfixturevalue(kind), tmp_path)
    assert installed.site_packages() == {"mulligan", DIST_INFO}
    assert all(path.is_relative_to(tmp_path.resolve()) for path in installed.imported_from())


def test_an_editable_install_adds_nothing_but_its_finder(
    editable: Path, tree: Path, tmp_path: Path
) -> None:
    installed = Installed(editable, tmp_path)
    assert installed.site_packages() == {
        DIST_INFO,
        f"__editable__.mulligan-{__version__}.pth",
        f"__editable___mulligan_{__version__.replace('.', '_')}_finder.py",
    }
    assert all(path.is_relative_to(tree.resolve()) for path in installed.imported_from())


def test_the_wheel_carries_the_interface_and_the_type_marker(wheel: Path, tree: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    protos = {path.relative_to(tree).as_posix() for path in tree.glob("proto/mulligan/v1/*.proto")}
    assert protos
    assert {f"mulligan/{path}" for path in protos} <= names
    assert {"mulligan/py.typed", "mulligan/proto/_generated/descriptors.binpb"} <= names


def test_the_wheel_is_the_same_when_built_from_the_sdist(
    wheel: Path, wheel_from_sdist: Path
) -> None:
    direct, by_way_of_sdist = zipfile.ZipFile(wheel), zipfile.ZipFile(wheel_from_sdist)
    assert sorted(direct.namelist()) == sorted(by_way_of_sdist.namelist())
