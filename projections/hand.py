"""One process of a crew: ``python -m mulligan.projections.hand`` builds what it is told to."""

import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import NoReturn

import anyio
import asyncpg
import msgspec
import uvloop

from mulligan.errors import MulliganError
from mulligan.events.codec import Codec, decode_entry
from mulligan.log.protocol import Stored
from mulligan.model import Seq
from mulligan.projections.building import Drafts
from mulligan.projections.checkpoint import ORIGIN
from mulligan.projections.crew import Answer, Order, Part
from mulligan.projections.fold import Poison
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import LOST
from mulligan.projections.schema import ReadModel

_SWITCH_S = 0.0005
"""Postgres is written to while a thread folds: let neither wait long for the other."""

_encode_answer = msgspec.json.Encoder().encode
_decode_order = msgspec.json.Decoder(Order).decode
_decode_part = msgspec.msgpack.Decoder(Part).decode


class Orphaned(Exception):
    """Who gave the order is gone."""


def main() -> None:
    """Build until the input ends; the exit code is 0 when all of it is in Postgres."""
    sys.setswitchinterval(_SWITCH_S)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who gave the order ends us by our input
    try:
        uvloop.run(_build(_decode_order(_frame())))
    except Orphaned:
        os._exit(1)
    except MulliganError as error:
        _give_up(str(error))
    except LOST as error:
        _give_up(f"Postgres is away: {error}")
    except asyncpg.PostgresError as error:
        _give_up(f"Postgres refused: {error}")


def _give_up(why: str) -> NoReturn:
    _say(Answer(error=why))
    os._exit(1)


async def _build(order: Order) -> None:
    own = {model.name: model for model in READ_MODELS}
    targets = {own[name]: target for name, target in order.targets.items()}
    drafts = Drafts(order.dsn, targets, Codec())
    told: set[ReadModel] = set()
    seq = ORIGIN.seq
    async with aclosing(drafts.run(_parts(), order.log_id)) as steps:
        async for step in steps:
            if step.phase == "folding":
                seq = step.seq
                _say(Answer(seq=seq, poisoned=_news(drafts.poisoned, told)))
    _say(Answer(seq=seq, done=True))


def _news(
    poisoned: Mapping[ReadModel, Poison], told: set[ReadModel]
) -> Mapping[str, tuple[Seq, str]]:
    """Return what was not told of yet."""
    new = [model for model in poisoned if model not in told]
    told.update(new)
    return {model.name: (poisoned[model].seq, str(poisoned[model])) for model in new}


async def _parts() -> AsyncGenerator[Sequence[Stored], None]:
    while part := await anyio.to_thread.run_sync(_part, abandon_on_cancel=True):
        yield part


def _part() -> Sequence[Stored]:
    frame = _frame()
    if not frame:
        return ()
    return [
        Stored(entry=decode_entry(value), value=value, hash=hash_)
        for hash_, value in _decode_part(frame)
    ]


def _frame() -> bytes:
    """Return the next frame; raise Orphaned when there is none."""
    return _exactly(int.from_bytes(_exactly(4)))


def _exactly(size: int) -> bytes:
    found = sys.stdin.buffer.read(size)
    if len(found) < size:
        raise Orphaned
    return found


def _say(answer: Answer) -> None:
    sys.stdout.buffer.write(_encode_answer(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
