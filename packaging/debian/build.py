"""Build the Debian package: ``python packaging/debian/build.py``; it is left in build/packages.

The package holds Mulligan and the libraries of ``uv.lock`` below /usr/lib/mulligan, for the Python
of the Debian release that it is built on; nothing of it is on anybody else's import path. It needs
dpkg-deb, /usr/bin/python3 with venv's modules, and the environment of ``make setup``.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ROOT / "packaging"
TARGET = ROOT / "build" / "packages"
HOME = Path("usr/lib/mulligan")
PYTHON = "/usr/bin/python3"
UV = (str(Path(sys.executable).parent / "uv"), "--quiet", "--no-config")
LIMIT_S = 600

CONTROL = """\
Package: mulligan
Version: {version}
Architecture: {architecture}
Maintainer: The Mulligan developers <mulligan@localhost>
Installed-Size: {kilobytes}
Depends: adduser, python3 (>= {python}~), python3 (<< {beyond}~)
Recommends: etcd-server
Section: admin
Priority: optional
Description: event-sourced provisioning of bare-metal machines
 Mulligan knows the hardware of a fleet, hands it out as claims and reservations, and makes a claim
 a running machine over Redfish. Every command is an event in one ordered log, so that all of it can
 be replayed, audited and explained.
"""


class BuildError(Exception):
    """The package cannot be built; the message says why."""


def main() -> int:
    """Build the wheel and the package; print where the package is."""
    TARGET.mkdir(parents=True, exist_ok=True)
    stage = TARGET / "deb"
    shutil.rmtree(stage, ignore_errors=True)
    wheel = build_wheel()
    version = wheel.name.split("-")[1]
    install(wheel, stage / HOME)
    place_files(stage)
    compile_modules(stage)
    package = TARGET / f"mulligan_{version}_{architecture()}.deb"
    write_control(stage, version)
    run("dpkg-deb", "--root-owner-group", "-Zzstd", "--build", str(stage), str(package))
    sys.stdout.write(f"{package}\n")
    return 0


def build_wheel() -> Path:
    """Build the wheel with the setuptools of uv.lock, and return it."""
    folder = TARGET / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    flags = ("--wheel", "--no-build-isolation", f"--python={sys.executable}")
    run(*UV, "build", *flags, f"--out-dir={folder}", str(ROOT))
    (wheel,) = folder.glob("mulligan-*.whl")
    return wheel


def install(wheel: Path, home: Path) -> None:
    """Make an environment of Debian's Python with the wheel and what uv.lock names for it."""
    run(*UV, "venv", "--relocatable", "--no-project", f"--python={PYTHON}", str(home))
    wanted = TARGET / "requirements.txt"
    run(
        *UV, "export", "--frozen", "--no-dev", "--extra=embedded", "--no-emit-project",
        f"--project={ROOT}", f"--output-file={wanted}",
    )  # fmt: skip
    into = ("pip", "install", f"--python={home}/bin/python", "--link-mode=copy")
    run(*UV, *into, "--require-hashes", f"--requirement={wanted}")
    run(*UV, *into, "--no-deps", "--offline", str(wheel))
    for left in home.rglob("direct_url.json"):  # it has the wheel's path on this host
        left.unlink()
    for left in ("CACHEDIR.TAG", ".gitignore", ".lock"):
        (home / left).unlink(missing_ok=True)
    for script in (home / "bin").iterdir():
        if not script.name.startswith(("python", "mulligan")):
            script.unlink()


def place_files(stage: Path) -> None:
    """Put units, settings, completion, manual and licence where Debian has them."""
    systemd = stage / "lib/systemd/system"
    shutil.copytree(PARTS / "systemd", systemd)
    copy(PARTS / "debian" / "default", stage / "etc/default/mulligan")
    (stage / "usr/bin").mkdir(parents=True)
    (stage / "usr/bin/mulligan").symlink_to("../lib/mulligan/bin/mulligan")
    mulligan = str(stage / HOME / "bin/mulligan")
    shells = {
        "bash": "usr/share/bash-completion/completions/mulligan",
        "zsh": "usr/share/zsh/vendor-completions/_mulligan",
        "fish": "usr/share/fish/vendor_completions.d/mulligan.fish",
    }
    for shell, place in shells.items():
        write(stage / place, run(mulligan, "completion", shell).encode())
    write(stage / "usr/share/man/man1/mulligan.1.gz", packed(run(mulligan, "help", "--man")))
    documents = stage / "usr/share/doc/mulligan"
    copy(PARTS / "debian" / "copyright", documents / "copyright")
    write(documents / "changelog.gz", packed((ROOT / "CHANGELOG.md").read_text()))
    for folder in ("grafana", "prometheus"):
        shutil.copytree(PARTS / folder, stage / "usr/share/mulligan" / folder)


def compile_modules(stage: Path) -> None:
    """Compile all modules, under the names that they will have; only root could do so later."""
    for cache in stage.rglob("__pycache__"):
        shutil.rmtree(cache)
    run(
        PYTHON, "-m", "compileall", "-q", "-j2", "--invalidation-mode=unchecked-hash",
        "-s", str(stage), "-p", "/", str(stage / HOME / "lib"),
    )  # fmt: skip


def write_control(stage: Path, version: str) -> None:
    """Write the package's own data: what it is, needs and owns."""
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    major, minor = run(PYTHON, "-c", "import sys; print(*sys.version_info[:2])").split()
    kilobytes = sum(path.stat().st_size for path in files) // 1024
    control = CONTROL.format(
        version=version,
        architecture=architecture(),
        kilobytes=kilobytes,
        python=f"{major}.{minor}",
        beyond=f"{major}.{int(minor) + 1}",
    )
    folder = stage / "DEBIAN"
    write(folder / "control", control.encode())
    write(folder / "conffiles", b"/etc/default/mulligan\n")
    sums = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  "
        f"{path.relative_to(stage)}\n"
        for path in files
    ]
    write(folder / "md5sums", "".join(sums).encode())
    for script in ("postinst", "prerm", "postrm"):
        copy(PARTS / "debian" / script, folder / script)
        (folder / script).chmod(0o755)


def architecture() -> str:
    """Return what Debian calls this machine."""
    return run("dpkg", "--print-architecture").strip()


def run(*command: str) -> str:
    """Run a command and return what it prints; raise BuildError with what it complains of."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error.strerror}") from None
    if done.returncode:
        raise BuildError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def packed(text: str) -> bytes:
    """Compress a text, alike each time."""
    return gzip.compress(text.encode(), mtime=0)


def copy(source: Path, target: Path) -> None:
    """Copy a file, with folders as needed."""
    write(target, source.read_bytes())


def write(target: Path, content: bytes) -> None:
    """Write a file that everybody may read, with folders as needed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(0o644)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BuildError as failure:
        sys.exit(f"error: {failure}")
