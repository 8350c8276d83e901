"""Trying out: a verb reads as ever, and says what it would do, as the service decides it."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from grpclib import GRPCError, Status

from mulligan.cli.dry_run import decided, without_secrets
from mulligan.cli.dry_run_view import Trial, named_in, show, uuids_in
from mulligan.cli.help import every_command
from mulligan.cli.main import main
from mulligan.cli.output import Output
from mulligan.client.status import to_error
from mulligan.errors import FailedPrecondition
from mulligan.proto import v1
from mulligan.proto.v1 import READS
from tests.cli.test_every_verb import LOGINS, address, called, region_of_anything

TRIALS = {f"/mulligan.v1.{service}/DryRun" for service in ("Iam", "Meta", "Resource", "Control")}

__all__ = ["address", "called", "region_of_anything"]


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("project create physics --dry-run", "Iam.CreateProject"),
        ("image delete a b --dry-run", "Control.DeleteImage"),
        ("claim make --class machine=1 --dry-run", "Resource.MakeClaim"),
        ("machine deploy c --image i --dry-run --wait", "Control.DeployMachine"),
        ("rebuild x --dry-run", "Projector.RebuildProjections"),
    ],
)
async def test_what_would_be_sent_is_shown_and_not_sent(
    line: str,
    call: str,
    region_of_anything: Path,
    called: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = len(called)
    code = await anyio.to_thread.run_sync(main, [*line.split(), "-o", "json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert {one["call"] for one in json.loads(printed.out)} == {call}
    assert "othing was done" in printed.err
    assert {one for one in called[before:] if one not in LOGINS} <= READS | TRIALS


@pytest.mark.parametrize("form", ["table", "wide", "json", "yaml", "name"])
@pytest.mark.parametrize("line", ["account secret ada --secret-file", "passwd --secret-file"])
async def test_secrets_are_not_shown(
    line: str,
    form: str,
    region_of_anything: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MULLIGAN_SECRET", "hunter3hunter3")
    (region_of_anything / "secret").write_text("hunter2hunter2")
    words = [*line.split(), str(region_of_anything / "secret"), "--dry-run", "-o", form]
    code = await anyio.to_thread.run_sync(main, words)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "hunter" not in printed.out + printed.err


def test_what_is_secret_is_not_shown_however_deep() -> None:
    told = {"name": "a", "old_secret": "x", "more": [{"bmc_password": "y", "secret": ""}]}
    assert without_secrets(told) == {
        "name": "a",
        "old_secret": "***",
        "more": [{"bmc_password": "***", "secret": ""}],
    }


def test_every_verb_that_makes_or_deletes_can_be_tried_out() -> None:
    for path, command in every_command():
        noun, verb = path.split()[0], path.split()[-1]
        if verb in ("create", "delete", "make", "release", "cancel") and noun != "context":
            assert any("--dry-run" in param.opts for param in command.params), path


class Services:
    """A service that decides as it is told, or knows no dry runs."""

    def __init__(self, *fates: GRPCError | v1.DryRunResponse) -> None:
        self.fates = list(fates)
        self.asked: list[Any] = []

    @property
    def iam(self) -> "Services":
        return self

    async def dry_run(self, message: Any) -> v1.DryRunResponse:
        self.asked.append(message)
        fate = self.fates.pop(0)
        if isinstance(fate, GRPCError):
            raise to_error(fate, "Iam.DryRun") from fate
        return fate


async def test_what_an_older_service_does_not_know_is_not_decided_and_never_sent() -> None:
    older = Services(GRPCError(Status.UNIMPLEMENTED, "Method not found"))
    wish = v1.CreateProjectRequest(name="physics")
    assert await decided(older, "iam", "create_project", wish) is None
    assert older.asked == [v1.DryRunIamRequest(create_project=wish)]
    assert await decided(older, "iam", "change_secret", v1.ChangeSecretRequest()) is None
    assert len(older.asked) == 1, "what has no dry run is not asked for one"


async def test_a_refusal_is_that_of_the_call() -> None:
    refusing = Services(GRPCError(Status.FAILED_PRECONDITION, "it has claims"))
    with pytest.raises(FailedPrecondition, match="it has claims"):
        await decided(refusing, "iam", "create_project", v1.CreateProjectRequest())


def test_a_claim_is_told_in_words() -> None:
    provider, claim = "01920000-0000-7000-8000-000000000001", "01920000-0000-7000-8000-000000000002"
    span = {"start": "2027-01-31T08:00:00Z", "end": "2027-01-31T10:00:00Z"}
    made = {
        "claim": claim,
        "name": "training",
        "on_end": "release",
        "allocations": [{"provider": provider, "amounts": {"machine": 1}}],
        "search": {"policy": "pack"},
        **span,
    }
    taken = {"claim": claim, "amounts": {"machine": 1}, **span}
    events = [
        v1.LogEvent(stream=f"claim/{claim}", type="claim.made", data=json.dumps(made)),
        v1.LogEvent(stream=f"provider/{provider}", type="provider.capacity_taken",
                    data=json.dumps(taken)),
        v1.LogEvent(stream="new/1", type="new.kind", data='{"at":"2027-01-31T08:00:00Z","x":[]}'),
        v1.LogEvent(stream="new/2", type="claim.made", data='{"of":"a later release"}'),
    ]  # fmt: skip
    answer = v1.DryRunResponse(
        position=v1.Position(region="east", seq=7), records=[v1.LogRecord(events=events)]
    )
    trial = Trial("Resource.MakeClaim", {}, answer)
    out, err = StringIO(), StringIO()
    show(Output(out=out, err=err), [trial], {provider: "node-7", **named_in([trial])})
    lines = out.getvalue().splitlines()
    assert lines[:6] == [
        "claim       training",
        "would take  node-7  machine=1",
        "from        2027-01-31 08:00:00Z",
        "until       2027-01-31 10:00:00Z  (2h)",
        "on end      release",
        "chosen      by policy pack",
    ]
    text = out.getvalue()
    assert "machine=1 for training, 2027-01-31 08:00:00Z to 2027-01-31 10:00:00Z (2h)" in text
    assert "at=2027-01-31 08:00:00Z" in text
    assert "of=a later release" in text
    assert err.getvalue() == "dry run: decided at east:7. Nothing was done\n"
    assert uuids_in([trial]) == [claim, provider]
