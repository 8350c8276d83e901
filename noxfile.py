"""The project's commands, for `make` and for people: `nox -s check|test|properties|fuzz|crash`.

They run in the environment that `make setup` builds from uv.lock, so there is one set of versions.
"""

import os
from pathlib import Path

import nox

ROOT = Path(__file__).parent
BIN = ROOT / ".venv" / "bin"

nox.needs_version = ">=2026.1"
nox.options.sessions = ["check", "test"]
nox.options.default_venv_backend = "none"


def run(session: nox.Session, tool: str, *arguments: str, **settings: str) -> None:
    """Run a tool of the project's environment, first on the PATH, with more settings in it."""
    if not (BIN / tool).exists():
        session.error(f"{tool} is not installed: run `make setup` first")
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    session.run(str(BIN / tool), *arguments, env={"PATH": path, **settings}, external=True)


@nox.session
def check(session: nox.Session) -> None:
    """Style, types, import contracts; generated code up to date, and protos that keep promises."""
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "python", "proto/generate.py", "--check")
    run(session, "python", "proto/clients/generate.py", "--check")
    run(session, "python", "proto/sync.py", "--check")
    run(session, "python", "proto/compatibility.py")
    run(session, "lint-imports", "--no-logo")
    run(session, "mypy")


@nox.session
def test(session: nox.Session) -> None:
    """The test suite, three files at a time, for many wait; arguments after `--` go to pytest.

    The files are taken in their order, so that neighbours find the servers that they share.
    """
    halves = ("--numprocesses=3", "--dist=loadfile", "--no-loadscope-reorder")
    run(session, "python", "-m", "pytest", "-q", *halves, *session.posargs)


@nox.session
def properties(session: nox.Session) -> None:
    """What must always hold, tried on 10,000 cases; arguments after `--` go to pytest."""
    tests = (
        "tests/handlers",
        "tests/commands/test_racing.py",
        "tests/placement",
        "tests/queries/test_search.py",
    )
    arguments = ("-q", "--timeout=0", *tests, *session.posargs)
    run(session, "python", "-m", "pytest", *arguments, MULLIGAN_CASES="10000")


@nox.session
def crash(session: nox.Session) -> None:
    """Kill, freeze and starve every part under load; MULLIGAN_KILLS and MULLIGAN_SEED set it.

    Debian's etcd is unpacked below build/ first; without it, the suite says on which it runs.
    """
    run(session, "python", "-m", "tests.crash.parts")
    etcd = ROOT / "build" / "etcd" / "usr" / "bin"
    path = os.pathsep.join((str(BIN), str(etcd), os.environ["PATH"]))
    run(session, "python", "-m", "pytest", "-q", "-m", "crash", *session.posargs, PATH=path)


@nox.session
def upgrade(session: nox.Session) -> None:
    """The last release and this one together, service by service, in any order."""
    arguments = ("-q", "--timeout=600", "-m", "upgrade", "tests/upgrade", *session.posargs)
    run(session, "python", "-m", "pytest", *arguments)


@nox.session
def soak(session: nox.Session) -> None:
    """Half an hour of mixed load on a region that archives all the time; nothing may grow."""
    arguments = ("-q", "-s", "--timeout=0", "-m", "soak", "tests/soak", *session.posargs)
    run(session, "python", "-m", "pytest", *arguments)


@nox.session
def simulate(session: nox.Session) -> None:
    """Live through 5,000 seeds of a simulated region; after `--`: `--seed 4711` tells of one."""
    run(session, "python", "-m", "tests.simulation", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Send 100,000 malformed and random messages to a region, and raw bytes to its ports."""
    arguments = ("-q", "--timeout=0", "-m", "fuzz", "tests/fuzz", *session.posargs)
    run(session, "python", "-m", "pytest", *arguments, MULLIGAN_FUZZ="100000")


@nox.session
def qemu(session: nox.Session) -> None:
    """Provision a virtual machine, after bringing what that needs: as root, Debian packages."""
    run(session, "python", "-m", "tests.qemu.parts")
    run(session, "python", "-m", "pytest", "-q", "-m", "qemu", "tests/qemu", *session.posargs)


@nox.session
def clients(session: nox.Session) -> None:
    """Build and test the clients in TypeScript and Go, after bringing npm's and Debian's parts."""
    run(session, "python", "-m", "tests.clients.parts")
    run(session, "python", "proto/clients/generate.py", "--check")
    marked = ("-m", "clients", "tests/clients")
    run(session, "python", "-m", "pytest", "-q", *marked, *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Drive the console's web page in headless Chromium, and write the pictures of the docs."""
    run(session, "python", "-m", "tests.browser.parts")
    run(session, "python", "-m", "pytest", "-q", "-m", "browser", "tests/browser", *session.posargs)


@nox.session
def generate(session: nox.Session) -> None:
    """Write proto/_generated and the clients in other languages anew from the .proto files."""
    run(session, "python", "proto/generate.py")
    run(session, "python", "proto/clients/generate.py")
    run(session, "python", "proto/sync.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Every benchmark, figures in build/bench; or, after `--`, one by name with its arguments."""
    if "--peer" in session.posargs:  # the libraries that are compared with, for this run only
        run(session, "uv", "sync", "--quiet", "--frozen", "--inexact", "--group", "bench")
    if session.posargs:
        run(session, "python", "-m", "benchmarks", *session.posargs)
        return
    figures = ROOT / "build" / "bench"
    figures.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "benchmarks").glob("[!_]*.py")):
        json = figures / f"{path.stem}.json"
        run(session, "python", "-m", "benchmarks", path.stem, f"--json={json}")


@nox.session
def guides(session: nox.Session) -> None:
    """Type every command of the docs on real regions, two pages at a time.

    Debian's etcd and etcdctl are unpacked below build/ first.
    """
    run(session, "python", "-m", "tests.crash.parts")
    arguments = ("-q", "--numprocesses=2", "--dist=load", "-m", "guides", "tests/docs")
    run(session, "python", "-m", "pytest", *arguments, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation as a web site in build/docs/html; a warning is an error."""
    run(session, "python", "docs/site/build.py")


@nox.session
def packages(session: nox.Session) -> None:
    """Build the Debian package, install it in a Debian of its own, and lint image and chart."""
    run(session, "uv", "sync", "--quiet", "--frozen", "--inexact", "--group", "packages")
    run(session, "python", "-m", "tests.packages.parts")
    run(session, "python", "packaging/debian/build.py")
    run(
        session,
        "python",
        "-m",
        "pytest",
        "-q",
        "-m",
        "packages",
        "tests/packages",
        *session.posargs,
    )
