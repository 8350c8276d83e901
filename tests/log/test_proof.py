"""Exported segments prove themselves offline: whatever was changed in them is found."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mulligan.errors import Corrupt, FailedPrecondition
from mulligan.events.codec import entry_hash
from mulligan.log.export_file import Header, Writer, parse_note, written_whole
from mulligan.log.verify import FileVerdict, verify_files
from mulligan.log.vouching import LogKey
from mulligan.model import Seq
from tests.log.proof import BEGAN, LOG_ID, REGION, Chain, Signing, export, rechained

KEY = Signing("1")


@pytest.fixture
def chain() -> Chain:
    """Twelve entries: a key, work, a checkpoint of entry 5, work, one of entry 9, and two more."""
    made = Chain()
    made.announce(KEY)
    made.work(4)
    made.sign(KEY)
    made.work(3)
    made.sign(KEY)
    made.work(2)
    return made


def check(*paths: Path, keys: Sequence[LogKey] | None = (KEY.public,), **noted: str) -> FileVerdict:
    return verify_files(paths, keys, {Seq(int(k[1:])): v for k, v in noted.items()})


def test_a_sound_export_is_vouched_for_up_to_its_newest_checkpoint(
    chain: Chain, tmp_path: Path
) -> None:
    verdict = check(export(tmp_path / "log", chain.entries))
    assert (verdict.first, verdict.last, verdict.commits) == (1, 12, 12)
    assert verdict.hash == chain.head
    assert verdict.vouched is not None
    assert (verdict.vouched.seq, verdict.vouched.signed.kid) == (9, "1")


def test_without_keys_those_in_the_file_are_taken(chain: Chain, tmp_path: Path) -> None:
    verdict = check(export(tmp_path / "log", chain.entries), keys=None)
    assert verdict.vouched is not None


def test_segments_are_one_log_in_their_order(chain: Chain, tmp_path: Path) -> None:
    entries = chain.entries
    one = export(tmp_path / "1", entries[:7])
    two = export(tmp_path / "2", entries[7:], first=8, prev=entry_hash(entries[6]))
    assert check(one, two).commits == 12
    alone = check(two)
    assert alone.vouched is not None
    assert (alone.first, alone.vouched.seq) == (8, 9)
    with pytest.raises(Corrupt, match="begins at entry 1 follows one up to 12"):
        check(two, one)
    other = export(tmp_path / "3", rechained(entries[7:], 8, "0" * 64), first=8, prev="0" * 64)
    with pytest.raises(Corrupt, match="does not follow from the last entry of the file before"):
        check(one, other)


def test_the_key_may_be_announced_in_a_segment_that_is_not_here(
    chain: Chain, tmp_path: Path
) -> None:
    prev = entry_hash(chain.entries[6])
    two = export(tmp_path / "2", chain.entries[7:], [KEY.public], first=8, prev=prev)
    verdict = check(two, keys=None)
    assert verdict.vouched is not None
    bare = export(tmp_path / "3", chain.entries[7:], first=8, prev=prev)
    with pytest.raises(Corrupt, match="key 1, which is not trusted"):
        check(bare, keys=None)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_changed_byte_is_found(data: st.DataObject, tmp_path: Path) -> None:
    small = Chain()
    small.announce(KEY)
    small.work(1)
    small.sign(KEY)
    whole = bytearray(export(tmp_path / "log", small.entries, [KEY.public]).read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    changed = tmp_path / "changed"
    changed.write_bytes(whole)
    for keys in ((KEY.public,), None):
        with pytest.raises(Corrupt):
            check(changed, keys=keys)


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_is_cut_anywhere_is_found(cut: float, chain: Chain, tmp_path: Path) -> None:
    whole = export(tmp_path / "log", chain.entries).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(Corrupt, match=r"cut off or damaged|no export"):
        check(tmp_path / "cut")


def forged(path: Path, entries: Sequence[bytes], chain: Chain) -> Path:
    """Write lines into a file as they are, in place of the chain's."""
    lines = export(path, chain.entries).read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], *(entry + b"\n" for entry in entries), lines[-1]]))
    return path


@pytest.mark.parametrize(
    ("order", "bad"),
    [
        ([0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11], 3),
        ([0, 1, 3, 2, 4, 5, 6, 7, 8, 9, 10, 11], 3),
        ([0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 4),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 1),
    ],
    ids=["missing", "reordered", "doubled", "the first missing"],
)
def test_entries_that_are_not_all_there_in_order_are_found(
    chain: Chain, tmp_path: Path, order: list[int], bad: int
) -> None:
    entries = [chain.entries[n] for n in order]
    with pytest.raises(Corrupt, match=f"log entry {bad} "):
        check(forged(tmp_path / "log", entries, chain))


def test_an_inserted_entry_is_found(chain: Chain, tmp_path: Path) -> None:
    other = Chain()
    other.work(4)
    entries = [*chain.entries[:3], other.entries[3], *chain.entries[3:]]
    with pytest.raises(Corrupt, match="log entry 4 does not follow"):
        check(forged(tmp_path / "log", entries, chain))


def test_history_that_was_rewritten_and_chained_anew_is_found(chain: Chain, tmp_path: Path) -> None:
    for gone in range(1, 5):
        entries = rechained([e for n, e in enumerate(chain.entries) if n != gone])
        with pytest.raises(Corrupt, match="holds a checkpoint of entry 5"):
            check(export(tmp_path / "log", entries))
    changed = [e.replace(b'"name":"p"', b'"name":"q"') for e in chain.entries]
    with pytest.raises(Corrupt, match="with another hash: what was signed was rewritten"):
        check(export(tmp_path / "log", rechained(changed)))


def test_a_checkpoint_signed_with_another_key_is_found(tmp_path: Path) -> None:
    forger, chain = Signing("1", seed=66), Chain()
    chain.announce(KEY)
    chain.work()
    chain.sign(forger)
    with pytest.raises(Corrupt, match="whose signature is not that of key 1"):
        check(export(tmp_path / "log", chain.entries))


def test_a_key_that_only_the_file_announces_is_not_trusted(tmp_path: Path) -> None:
    forger, chain = Signing("1", seed=66), Chain()
    chain.announce(forger)
    chain.work()
    chain.sign(forger)
    path = export(tmp_path / "log", chain.entries, [forger.public])
    assert check(path, keys=None).vouched is not None
    with pytest.raises(Corrupt, match="announces a log key 1 that is not the trusted one"):
        check(path)
    with pytest.raises(Corrupt, match="key 1, which is not trusted"):
        check(path, keys=[Signing("2").public])


def test_a_tail_that_was_cut_and_chained_is_found_by_what_was_noted(
    chain: Chain, tmp_path: Path
) -> None:
    cut = export(tmp_path / "log", chain.entries[:11])
    assert check(cut).last == 11
    with pytest.raises(Corrupt, match="ends at entry 11, before entry 12"):
        check(cut, n12=chain.head)
    whole = export(tmp_path / "log", chain.entries)
    assert check(whole, n12=chain.head).last == 12
    with pytest.raises(Corrupt, match="log entry 12 is not the one that was noted"):
        check(whole, n12="0" * 64)


def test_what_a_key_signed_before_it_was_retired_holds_and_nothing_after(tmp_path: Path) -> None:
    new, chain = Signing("2"), Chain()
    chain.announce(KEY)
    chain.sign(KEY)
    retired_at = chain.now
    chain.retire(KEY)
    chain.announce(new)
    chain.sign(new)
    both = (LogKey(kid="1", x=KEY.public.x, retired_at=retired_at), new.public)
    verdict = check(export(tmp_path / "log", chain.entries), keys=both)
    assert verdict.vouched is not None
    assert verdict.vouched.seq == 4
    chain.sign(KEY)
    for keys in (both, [KEY.public, new.public], None):
        with pytest.raises(Corrupt, match="key 1 after that was retired"):
            check(export(tmp_path / "log", chain.entries), keys=keys)


def test_a_key_that_leaked_need_not_be_trusted_for_what_a_later_one_vouches_for(
    chain: Chain, tmp_path: Path
) -> None:
    new = Signing("2")
    chain.retire(KEY)
    chain.announce(new)
    before = export(tmp_path / "before", chain.entries)
    with pytest.raises(Corrupt, match=r"entry 10 holds .* key 1, which is not trusted"):
        check(before, keys=[new.public])
    chain.sign(new)
    verdict = check(export(tmp_path / "log", chain.entries), keys=[new.public])
    assert verdict.vouched is not None
    assert verdict.vouched.signed.kid == "2"


@pytest.mark.parametrize(
    ("region", "log_id", "seq", "said"),
    [
        ("east", LOG_ID, 2, "whose signature is not that of key 1"),
        (REGION, "another", 2, "of another log, another"),
        (REGION, LOG_ID, 3, "which came later"),
        (REGION, LOG_ID, 9, "which came later"),
    ],
)
def test_a_checkpoint_speaks_of_this_log_and_of_what_came_before(
    tmp_path: Path, region: str, log_id: str, seq: int, said: str
) -> None:
    chain = Chain()
    chain.announce(KEY)
    chain.work()
    signed = KEY.sign(seq, chain.head, BEGAN, region=region, log_id=log_id)
    chain.add("checkpoint/log", signed)
    with pytest.raises(Corrupt, match=said):
        check(export(tmp_path / "log", chain.entries))


def test_files_of_different_logs_are_not_one(chain: Chain, tmp_path: Path) -> None:
    one = export(tmp_path / "1", chain.entries)
    two = tmp_path / "2"
    two.write_bytes(one.read_bytes().replace(LOG_ID.encode(), b"f" * 36))
    with pytest.raises(Corrupt, match="of different logs"):
        check(one, two)


@pytest.mark.parametrize("text", [b"", b"\n", b"{}\n", b"\x00" * 100, b'{"seq":1}\n', b"x" * 99])
def test_what_is_no_export_is_said_to_be_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "log").write_bytes(text)
    with pytest.raises(Corrupt):
        check(tmp_path / "log")
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        check(tmp_path / "absent")


def test_an_export_is_there_whole_or_not_at_all(chain: Chain, tmp_path: Path) -> None:
    header = Header(region=REGION, log_id=LOG_ID, first=Seq(1), last=Seq(12), prev="0" * 64)
    path = tmp_path / "log"
    path.write_text("older")

    def broken_off() -> None:
        with written_whole(path) as file:
            writer = Writer(file, header)
            writer.write(1, chain.entries[0])
            writer.finish()

    with pytest.raises(Corrupt, match="broke off before entry 2"):
        broken_off()
    assert [one.name for one in tmp_path.iterdir()] == ["log"]
    assert path.read_text() == "older"


def test_a_note_is_a_number_and_a_hash() -> None:
    assert parse_note(f"12:{'AB' * 32}") == (12, "ab" * 32)
    for text in ("", "12", "12:", f"x:{'ab' * 32}", f"-1:{'ab' * 32}", f"1:{'ab' * 31}"):
        assert parse_note(text) is None
