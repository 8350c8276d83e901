"""What was proven of log entries at hand, without a region: of exported files, of an archive."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mulligan.cli.output import Output
from mulligan.cli.progress import Progress
from mulligan.cli.verbs import Session
from mulligan.errors import Corrupt, InvalidArgument
from mulligan.quantities import format_span, format_time

if TYPE_CHECKING:
    from mulligan.events.checkpoint import CheckpointSigned
    from mulligan.log.verify import FileVerdict
    from mulligan.log.vouching import LogKey


@dataclass(frozen=True)
class Proof:
    """What was proven of exported files; ``vouched`` is 0 where no signature vouches."""

    region: str
    log_id: str
    first: int
    last: int
    commits: int
    head_hash: str
    vouched: int
    kid: str
    signed_at: datetime | None
    trusted_keys: bool


def verify_offline(
    session: Session, files: Sequence[Path], keys: Path | None, expect: Sequence[str]
) -> None:
    """Check exported segments; raise Corrupt for whatever is wrong with them."""
    from mulligan.log.export_file import parse_note
    from mulligan.log.verify import verify_files

    expected = {}
    for text in expect:
        note = parse_note(text)
        if note is None:
            raise InvalidArgument("--expect", f"{text!r} is not SEQ:HASH, the hash 64 hex digits")
        expected[note[0]] = note[1]
    trusted = read_keys(keys) if keys is not None else None
    with Progress(quiet=not session.out.err.isatty()) as progress:

        def show(seq: int) -> None:
            if seq % 500 == 0:
                progress.show("verify", f"entry {seq}")

        verdict = verify_files(files, trusted, expected, show)
    if keys is not None and verdict.vouched is None and not expected:
        raise Corrupt(
            f"entries {verdict.first} to {verdict.last} are chained, but none of the trusted keys"
            " vouches for them: there is no signed checkpoint; make one with"
            " `mulligan log checkpoint` and export again"
        )
    tell(session, verdict, trusted=keys is not None)


def tell(session: Session, verdict: "FileVerdict", *, trusted: bool) -> None:
    """Print what was proven."""
    signed = verdict.vouched.signed if verdict.vouched is not None else None
    if not session.out.for_people:
        proof = Proof(
            region=verdict.region,
            log_id=verdict.log_id,
            first=verdict.first,
            last=verdict.last,
            commits=verdict.commits,
            head_hash=verdict.hash,
            vouched=signed.seq if signed else 0,
            kid=signed.kid if signed else "",
            signed_at=signed.at if signed else None,
            trusted_keys=trusted,
        )
        session.out.one(proof, ())
        return
    session.out.line(
        f"entries {verdict.first} to {verdict.last} of {verdict.region} are intact,"
        f" {verdict.commits} commits; head {verdict.hash}"
    )
    say_vouched(session.out, signed, trusted=trusted, where="file")
    if signed is None:
        return
    tail = verdict.last - signed.seq
    span = format_span(max(0.0, (verdict.at - signed.at).total_seconds()))
    if tail:
        session.out.line(f"the last {tail}, of {span}, are chained, not yet signed")


def say_vouched(
    out: Output, signed: "CheckpointSigned | None", *, trusted: bool, where: str
) -> None:
    """Print how far a signed checkpoint vouches for the entries of a ``file`` or ``archive``.

    ``trusted`` says that its key is one that the user trusts.
    """
    if signed is None:
        out.line("no signed checkpoint vouches for them: they are chained, not yet signed")
        return
    by = "which you trust" if trusted else f"trusting the keys in the {where} itself"
    out.line(
        f"vouched for up to entry {signed.seq}, signed {format_time(signed.at)} with key"
        f" {signed.kid}, {by}"
    )


def read_keys(file: Path) -> "list[LogKey]":
    """Read the keys to trust; raise InvalidArgument for what is no set of Ed25519 keys."""
    import msgspec

    from mulligan.log.vouching import LogKey

    class Jwk(msgspec.Struct, kw_only=True):
        kty: str
        crv: str
        kid: str
        x: str
        retired_at: datetime | None = None

    class Jwks(msgspec.Struct):
        keys: list[Jwk]

    try:
        found = msgspec.json.decode(file.read_bytes(), type=Jwks).keys
    except OSError as error:
        raise InvalidArgument("--keys", f"{file} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument("--keys", f"{file} is no JSON Web Key Set: {error}") from error
    keys = [
        LogKey(kid=one.kid, x=one.x, retired_at=one.retired_at)
        for one in found
        if (one.kty, one.crv) == ("OKP", "Ed25519")
    ]
    if not keys:
        raise InvalidArgument("--keys", f"{file} holds no Ed25519 key")
    return keys
