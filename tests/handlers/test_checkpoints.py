"""What may be noted as a signed checkpoint."""

from datetime import timedelta

import pytest

from mulligan.errors import FailedPrecondition
from mulligan.events.checkpoint import CheckpointSigned, statement
from mulligan.events.key import KeyCreated, KeyRetired
from mulligan.handlers.checkpoint import STREAM, NoteCheckpoint
from mulligan.model import Seq
from tests.handlers.given import NOON, Given


def note(seq: int, kid: str = "2") -> NoteCheckpoint:
    signed = CheckpointSigned(
        log_id="l", seq=Seq(seq), hash="ab" * 32, at=NOON, kid=kid, signature="s"
    )
    return NoteCheckpoint(signed=signed)


def with_keys() -> Given:
    given = Given()
    given.happened("key", "1", KeyCreated(kid="1", x="x", version="v"))
    given.happened("key", "2", KeyCreated(kid="2", x="x", version="v", use="log"))
    return given


def test_the_newest_checkpoint_is_the_state() -> None:
    given = with_keys()
    given.do(note(4))
    given.do(note(9))
    assert given.states[STREAM].seq == 9


def test_what_is_vouched_for_already_is_not_noted_again() -> None:
    given = with_keys()
    given.do(note(9))
    assert given.do(note(9)) == []
    assert given.do(note(8)) == []


def test_only_a_log_key_that_is_not_retired_signs() -> None:
    given = with_keys()
    for kid in ("1", "3"):
        with pytest.raises(FailedPrecondition):
            given.do(note(4, kid))
    given.happened("key", "2", KeyRetired(honoured_until=NOON))
    with pytest.raises(FailedPrecondition, match="key 2 signs no checkpoints"):
        given.do(note(4))


def test_what_is_signed_is_a_text_of_six_lines_with_the_time_in_utc() -> None:
    text = statement("west", "log-1", 7, "ab", NOON + timedelta(microseconds=5))
    assert text == b"mulligan-checkpoint-v1\nwest\nlog-1\n7\nab\n2026-01-01T12:00:00.000005Z\n"
