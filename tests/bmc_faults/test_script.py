from pathlib import Path

import pytest

from tests.bmc_faults.script import FAULTS, BadScript, parse_script, read_script, vocabulary
from tests.bmc_faults.timing import Delay, Drop

GOOD = """
rules:
  - fault: delay
    bmc: "node-*"
    method: GET
    seconds: 0.5
    chance: 0.2
  - {fault: drop, applied: after, after: 1, times: 1}
"""


def test_a_script_is_read_from_yaml_and_from_json() -> None:
    assert parse_script(GOOD) == (
        Delay(bmc="node-*", method="GET", seconds=0.5, chance=0.2),
        Drop(applied="after", after=1, times=1),
    )
    assert parse_script('{"rules": [{"fault": "delay", "seconds": 2}]}') == (Delay(seconds=2.0),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "s:1: a script is an object"),
        ("rules: [", "s:1: expected the node content"),
        ("rules: []\nother: 1", "s:2: a script has the field `rules`, and no other"),
        ("rules: 3", "s:1: `rules` is a list"),
        ("rules:\n- fault: dealy", "s:2: unknown fault 'dealy'; known are boot_continuous, delay"),
        ("rules:\n- fault: delay\n  secs: 1", "s:3: delay has no field `secs`; it has after, bmc"),
        ("rules:\n- fault: delay\n  fault: drop", "s:3: `fault` is there twice"),
        ("rules:\n- seconds: 1", "s:2: a rule needs the field `fault`"),
        (
            "rules:\n- fault: delay\n  seconds: soon",
            "s:3: field `seconds`: Expected `float`, got `str`",
        ),
        ("rules:\n- fault: delay\n\n  chance: 2", "s:4: field `chance`: Expected `float` <= 1"),
        ("rules:\n- {fault: drop,\n   applied: never}", "s:3: field `applied`: Invalid enum value"),
    ],
)
def test_what_is_wrong_with_a_script_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(BadScript) as caught:
        parse_script(text, "s")
    assert str(caught.value).startswith(said)


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadScript, match=r"none\.yaml"):
        read_script(tmp_path / "none.yaml")


def test_the_help_tells_of_every_fault_and_field() -> None:
    told = vocabulary()
    for fault in FAULTS:
        assert f"\n{fault.__struct_config__.tag}\n" in told
        for field in fault.__struct_fields__:
            assert f"{field}: " in told


def test_the_page_tells_of_every_fault() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "try-a-faulty-bmc.md"
    for fault in FAULTS:
        assert f"`{fault.__struct_config__.tag}`" in page.read_text()
