"""What README and tutorial tell a reader to type works, and prints what they show."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, commands, named
from tests.docs.reader import missing_words
from tests.docs.walking import walk

WALKS = (ROOT / "README.md", ROOT / "docs" / "tutorial.md")


@pytest.fixture(scope="module")
def walks() -> Iterator[dict[Path, Future[None]]]:
    """Walk all pages at once: they mostly wait for emulated machines."""
    with ThreadPoolExecutor(len(WALKS)) as walkers:
        yield {page: walkers.submit(walk, page) for page in WALKS}


@pytest.mark.parametrize("page", WALKS, ids=named)
def test_a_reader_can_type_every_command_of(page: Path, walks: dict[Path, Future[None]]) -> None:
    walks[page].result()


@pytest.mark.parametrize("page", WALKS, ids=named)
def test_commands_are_found_on(page: Path) -> None:
    assert len(commands(page.read_text())) > 15


def test_a_word_that_a_command_does_not_print_is_missed() -> None:
    assert missing_words("node-3  active  on", "node-1  failed  on") == ["active"]


def test_ids_hashes_and_paths_may_differ() -> None:
    shown = "01a1fef2-a67f-7402-8cf3-33fbf9e4fecd 7f0040e0276f7b0d /home/you iam-22058-b951cf73"
    assert missing_words(shown, "") == []
