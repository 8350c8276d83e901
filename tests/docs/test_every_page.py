"""No page tells to type something that is not tried on a real region, here or elsewhere."""

import pytest

from tests.docs.given import GUIDES
from tests.docs.guide import unknown_to
from tests.docs.pages import PAGES, ROOT, is_typed, named, typed
from tests.docs.test_commands import WALKS


def test_every_page_with_commands_is_walked() -> None:
    telling = {
        named(page).removeprefix("docs/").removesuffix(".md")
        for page in PAGES
        if page not in WALKS and typed(page.read_text())
    }
    assert telling == set(GUIDES)


@pytest.mark.parametrize("name", sorted(GUIDES))
def test_nothing_is_prepared_for_what_the_page_does_not_have(name: str) -> None:
    lines = [shown.command for shown in typed((ROOT / "docs" / f"{name}.md").read_text())]
    assert unknown_to(lines, GUIDES[name]) == set()
    assert all((ROOT / test).is_file() for test in GUIDES[name].elsewhere.values())


def test_what_is_typed_is_told_from_what_stands_in_a_file() -> None:
    assert is_typed("MULLIGAN_SEED=1 nox -s crash\n")
    assert not is_typed("rules:\n  - {fault: delay}\n")
    indented = "    mulligan a \\\n      --b\n\n"
    fenced = "```sh\nmulligan c\n```\n\n```console\n$ mulligan d\nout\n```\n"
    page = indented + fenced
    assert [shown.command for shown in typed(page)] == [
        "mulligan a --b",
        "mulligan c",
        "mulligan d",
    ]
