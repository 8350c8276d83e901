"""How a machine looks to the tenant who holds it."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from mulligan.events.machine import Bmc
from mulligan.handlers.machine import Cordon, Fault, Machine
from mulligan.handlers.operation import Action, Operation, Retry
from mulligan.model import AccountId, ActionId, CommitId, CredentialId, MachineId
from mulligan.reconcile.machine_plan import waiting_for
from mulligan.services.gate.visibility import machine_held, machine_text

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MACHINE = Machine(
    id=MachineId("m"),
    name="node",
    bmc=Bmc(address="https://bmc-7.example:8443", credential=CredentialId("c")),
    state="active",
)
STEPPING = Operation(
    id=CommitId("o"),
    verb="deploy",
    steps=("power_off",),
    started_at=NOW,
    deadline=NOW,
    then="active",
)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("https://bmc-7.example:8443 answered GET /x with 500", "the BMC answered GET /x with 500"),
        ("bmc-7.example:8443: refused", "the BMC: refused"),
        ("no route to bmc-7.example", "no route to the BMC"),
        ("xbmc-7.example stays, as does bmc-7.example-b", None),
        ("out of time: the end of its maintenance, by 0a-1: disks", None),
    ],
)
def test_nothing_tells_where_the_bmc_is(said: str, read: str | None) -> None:
    expected = said.partition(", by")[0] if read is None else read
    assert machine_text(said, MACHINE) == expected


def test_who_keeps_it_and_why_is_left_out_wherever_it_is_said() -> None:
    cordon = Cordon(
        by=AccountId("0a-1"), reason="a secret: leak", since=NOW, until=None, maintenance=True
    )
    text = "out of time: the end of its maintenance, by 0a-1: a secret: leak"
    fault = Fault(fault="timeout", message=text, step="power_off", since=NOW)
    kept = replace(MACHINE, cordon=cordon, fault=fault, operation=STEPPING)
    seen = machine_held(kept)
    waiting = machine_text(waiting_for(seen), seen)
    assert waiting == "the end of its maintenance"
    assert "secret" not in f"{seen}{waiting}"
    assert "0a-1" not in f"{seen}{waiting}"
    assert "secret" in waiting_for(kept)


def test_how_many_others_are_in_trouble_is_left_out() -> None:
    waiting = waiting_for(replace(MACHINE, operation=STEPPING), "7 of 9 machines failed in 5 min")
    assert "7 of 9" in waiting
    assert machine_text(waiting, MACHINE) == "the brake of its failure domain to be released"


def test_a_failed_attempt_is_told_without_the_bmc_and_its_task() -> None:
    retry = Retry(
        attempt=1, fatal=False, at=NOW, fault="unreachable", message="https://bmc-7.example:8443: x"
    )
    action = Action(
        id=ActionId("a"),
        step="power_off",
        mode="once",
        attempt=1,
        requested_at=NOW,
        owner="executor-1",
        monitor="https://bmc-7.example:8443/tasks/1",
    )
    for operation in (replace(STEPPING, retry=retry), replace(STEPPING, action=action)):
        assert "bmc-7" not in str(machine_held(replace(MACHINE, operation=operation)).operation)
