"""What packages are tested in; `nox -s packages` brings it."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from mulligan import __version__
from tests.packages import parts
from tests.packages.debian import Debian, opened

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
collect_ignore = [] if find_spec("helm_python") else ["test_images.py"]
"""The chart's and the image's linters come with the session; only it runs their tests."""


@pytest.fixture(scope="session", autouse=True)
def _parts() -> None:
    if missing := parts.missing():
        pytest.fail(f"run `nox -s packages`; missing here: {', '.join(missing)}")


@pytest.fixture(scope="session")
def package() -> Path:
    """The Debian package that was built."""
    (built,) = parts.FOLDER.glob(f"mulligan_{__version__}_*.deb")
    return built


@pytest.fixture(scope="session")
def debian(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    """A Debian of its own in which the package is installed."""
    with opened(parts.DEBIAN, tmp_path_factory.mktemp("debian")) as system:
        system.install(package)
        yield system
