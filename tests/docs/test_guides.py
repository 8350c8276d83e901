"""Every guide does on a real region what it says: `nox -s guides`."""

import pytest

from tests.docs.given import GUIDES
from tests.docs.guide import walk_guide
from tests.docs.pages import ROOT

pytestmark = [pytest.mark.guides, pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", sorted(GUIDES))
def test_a_reader_can_walk(name: str) -> None:
    walk_guide(ROOT / "docs" / f"{name}.md", GUIDES[name])
