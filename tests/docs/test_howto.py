"""Every command that a page tells to type is tried: on services that answer anything, here.

README and tutorial are walked on a real region (test_commands), and so are all other pages by `nox
-s guides` (test_guides); what acts on a host or goes on for ever is named below, with where it is
tried in the suite that always runs.
"""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import anyio.to_thread
import pytest

from mulligan.cli.main import main
from mulligan.tls import TlsFiles
from tests.cli.test_every_verb import (
    NOTHING,
    StandardInput,
    address,
    called,
    region_of_anything,
)
from tests.client.conftest import tls
from tests.docs.pages import PAGES, commands, named
from tests.docs.test_commands import WALKS
from tests.log.proof import export

__all__ = ["address", "called", "region_of_anything", "tls"]

ELSEWHERE = re.compile(
    r"(up|serve|demo|init|certificate|backup|console)\b"  # tests/e2e, tests/embedded, tests/console
    r"|archive restore"  # tests/services/test_archiver.py
    r"|log tail .*-f\b|.* --watch\b"  # tests/cli
    r"|replay\b"  # tests/e2e
    r"|log export|log verify --file|archive verify .*--keys"  # tests/services/test_log_proof.py
    r"|.*--regions? |\w+ push |.*region connect "  # tests/e2e
    r"|login --cert"  # tests/services/test_accounts_cli.py
)
"""What needs a host of its own, signed files or several regions, or does not end."""
REFUSED = re.compile(
    r"obody is there to ask"  # a person is asked for a secret, or whether they are sure
    r"|projection 'claims' was not found|tonight ends at"  # there is x, and it ends in an hour
)
"""What services that answer anything, and a keyboard that nobody sits at, make of a command."""
FILES: dict[str, str] = {
    ".yaml": "groups: [{name: g, resources: {machine: 1}}]\n",
    ".json": '{"projects": []}',
    ".csv": "name,address,credential\nnew,https://new,x\n",
}
"""What the files hold that a command reads, by how they are called; others hold one line."""


def typed(text: str) -> Iterator[str]:
    """Yield the command lines of a page: those of console blocks, and indented ones."""
    yield from (shown.command for shown in commands(text))
    lines = iter(re.sub(r"\\\n\s*", "", text).splitlines())
    for line in lines:
        if re.match(r" {4,}(\w+=\S+ )*mulligan ", line):
            yield line.strip()


def words_of(line: str) -> list[str]:
    """Return the words after `mulligan`, up to a pipe or a redirection."""
    found = shlex.split(line, comments=True)
    found = found[found.index("mulligan") + 1 :]
    for number, word in enumerate(found):
        if word in {"|", ">", ">>", "<", "&&", ";"}:
            return found[:number]
    return found


def cases() -> Iterator[object]:
    for page in PAGES:
        if page in WALKS or page.name == "CHANGELOG.md":
            continue
        for line in dict.fromkeys(typed(page.read_text())):
            if not ELSEWHERE.match(" ".join(words_of(line))):
                yield pytest.param(line, id=f"{named(page)}: {line}")


def lay_out(words: list[str], folder: Path, tls: TlsFiles) -> None:
    """Make the files that a command reads."""
    for word in words:
        path = folder / word.partition("=")[2] if "=" in word else folder / word
        if re.fullmatch(r"[\w./-]+\.(yaml|json|jsonl|csv|pem|key|txt|password|secret)", path.name):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".jsonl":
                export(path, [NOTHING])
            elif path.suffix in {".pem", ".key"}:
                source = tls.ca if path.stem == "ca" else tls.cert
                path.write_bytes((tls.key if path.suffix == ".key" else source).read_bytes())
            else:
                path.write_text(FILES.get(path.suffix, "-----BEGIN CERTIFICATE-----\n"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("line", list(cases()))
async def test_a_command_can_be_typed(
    line: str,
    region_of_anything: Path,
    address: str,
    tls: TlsFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", StandardInput())
    monkeypatch.setenv("COLUMNS", "100")
    # Machines of no service that answers anything come to the end that is waited for.
    words = [word for word in words_of(os.path.expandvars(line)) if word != "--wait"]
    words = [re.sub(r"^[a-z][\w.]+:7001$", address, word) for word in words]
    contexts = region_of_anything / "config.toml"
    lab = contexts.read_text().partition("[contexts.lab]")[2]
    more = "".join(f"\n[contexts.{name}]{lab}" for name in ("local", "east", "west"))
    contexts.write_text(contexts.read_text() + more)
    lay_out(words, folder, tls)
    code = await anyio.to_thread.run_sync(main, words)
    printed = capsys.readouterr()
    assert code == 0 or REFUSED.search(printed.err), f"{line}\n{printed.err}"
