"""The last release as it was: its tree out of this repository's history, run beside this one."""

import subprocess
import tarfile
import tomllib
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Release(NamedTuple):
    """A release: its version, the commit that it was made of, and its tree, unpacked."""

    version: str
    commit: str
    tree: Path


def last() -> tuple[str, str]:
    """Return version and commit of the last release that is recorded."""
    text = (Path(__file__).parent / "released.toml").read_text(encoding="utf-8")
    newest = tomllib.loads(text)["release"][-1]
    return newest["version"], newest["commit"]


def unpack(folder: Path) -> Release:
    """Unpack the last release below a folder; skip where the history does not hold it."""
    version, commit = last()
    told = subprocess.run(
        ["git", "archive", "--format=tar", commit],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    if told.returncode != 0:
        pytest.skip(f"the history here does not hold {commit}, which release {version} is made of")
    with tarfile.open(fileobj=BytesIO(told.stdout)) as tree:
        tree.extractall(folder, filter="tar")
    return Release(version, commit, folder)
