"""Disks that fill up: a file system in memory where data lies, and a file that fills it."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 2**20


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Have ``folder``, with all that is in it, lie on a disk of ``size`` bytes; skip without right.

    In the end it lies where it lay before, without what happened meanwhile.
    """
    status = folder.stat()
    options = f"size={size},mode={status.st_mode & 0o777:o},uid={status.st_uid},gid={status.st_gid}"
    aside = folder.with_name(f"{folder.name}.aside")
    shutil.copytree(folder, aside, symlinks=True)
    _own_alike(folder, aside)
    mounting = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        shutil.rmtree(aside)
        pytest.skip("a disk that fills up is a tmpfs, and this user may not mount one")
    try:
        shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
        _own_alike(aside, folder)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(aside)


@contextmanager
def filled(folder: Path, leave: int = 0) -> Iterator[None]:
    """Fill the disk that ``folder`` lies on while the block runs, but for ``leave`` bytes."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            _fill(file.fileno(), leave)
        yield
    finally:
        filler.unlink()


def _fill(file: int, leave: int) -> None:
    """Make a file grow until so little is left, in ever smaller steps: others grow as well."""
    size, step = 0, 64 * MIB
    while step >= 4096:
        free = os.fstatvfs(file)
        try:
            if free.f_bavail * free.f_frsize - step >= leave:
                os.posix_fallocate(file, size, step)
                size += step
                continue
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        step //= 2


def _own_alike(model: Path, copy: Path) -> None:
    """Give all files of a copy the owners of what they are copies of."""
    for one in (model, *model.rglob("*")):
        status = one.lstat()
        os.chown(copy / one.relative_to(model), status.st_uid, status.st_gid, follow_symlinks=False)
