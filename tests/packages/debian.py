"""A Debian in a folder: a copy of what was unpacked, to install packages in and run them."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
USER_HOME = "/var/lib/mulligan"
_LIMIT_S = 120
_MOUNTED = ("proc", "dev")


class Debian:
    """The system below ``root``, with the host's kernel, processes and loopback."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(self, *words: str, user: str = "root") -> list[str]:
        """Return how a command is run in there."""
        home = "/root" if user == "root" else USER_HOME
        return [
            "chroot", f"--userspec={user}:", str(self.root),
            "env", "-i", f"PATH={PATH}", f"HOME={home}", "DEBIAN_FRONTEND=noninteractive", *words,
        ]  # fmt: skip

    def run(self, *words: str, user: str = "root", code: int = 0) -> str:
        """Run a command to its end, which is to be with ``code``; return all that it prints."""
        done = subprocess.run(
            self.command(*words, user=user),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        assert done.returncode == code, f"{words} ended with {done.returncode}\n{done.stdout}"
        return done.stdout

    def install(self, package: Path) -> str:
        """Install a package, as apt does once it has brought what it depends on."""
        shutil.copy(package, self.root / "tmp" / package.name)
        return self.run("dpkg", "--install", f"/tmp/{package.name}")

    def exists(self, path: str) -> bool:
        """Tell whether there is something at a path in there."""
        return (self.root / path.lstrip("/")).exists()


@contextmanager
def opened(unpacked: Path, folder: Path) -> Iterator[Debian]:
    """Copy an unpacked Debian to a folder and give it the kernel's folders while the block runs."""
    root = folder / "root"
    subprocess.run(["cp", "-a", str(unpacked), str(root)], check=True, timeout=_LIMIT_S)
    mounted: list[str] = []
    try:
        for name in _MOUNTED:
            subprocess.run(["mount", "--bind", f"/{name}", str(root / name)], check=True)
            mounted.append(name)
        yield Debian(root)
    finally:
        _unmount([root / name for name in mounted])
        assert not any(os.path.ismount(root / name) for name in _MOUNTED)
        shutil.rmtree(root)


def _unmount(places: Sequence[Path]) -> None:
    for place in reversed(places):
        subprocess.run(["umount", "--lazy", str(place)], check=True)
