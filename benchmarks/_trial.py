"""The log's protocol and nothing else, as the measure of what the machine can do.

One transaction at a time swaps the head and puts an entry of everything that waits, chained by
sha256. There is no window, no read set, no fence, no watch, no outcome to look up: what the log
takes beyond this is what those cost.
"""

import asyncio
from typing import Any

import grpc.aio
from aetcd import rpc

from benchmarks._appending import Timed, in_flight, new_commit
from mulligan.events.codec import GENESIS_HASH, encode_commit, encode_entry, entry_hash
from mulligan.log.etcd import EtcdSettings
from mulligan.model import Seq, new_id

_TXN = "/etcdserverpb.KV/Txn"


class Trial:
    """A log of its own under a prefix of its own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._txn: Any = channel.unary_unary(
            _TXN,
            request_serializer=rpc.TxnRequest.SerializeToString,
            response_deserializer=rpc.TxnResponse.FromString,
        )
        self._prefix = f"/bench-trial/{new_id()}/".encode()
        self._seq, self._prev, self._token = Seq(0), GENESIS_HASH, 0
        self._waiting: list[tuple[bytes, asyncio.Future[int]]] = []
        self._work = asyncio.Event()

    async def append(self, body: bytes) -> int:
        """Return the entry that holds the commit, once it is in."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, future))
        self._work.set()
        return await future

    async def run(self) -> None:
        """Write entries until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            while batch := self._waiting:
                self._waiting = []
                await self._write([body for body, _ in batch])
                for _, future in batch:
                    future.set_result(self._seq)

    async def _write(self, bodies: list[bytes]) -> None:
        seq, key = Seq(self._seq + 1), self._prefix + b"head"
        value = encode_entry(seq, self._prev, "2026-01-01T00:00:00Z", bodies)
        head = rpc.PutRequest(key=key, value=entry_hash(value).encode())
        entry = rpc.PutRequest(key=self._prefix + b"log/%016x" % seq, value=value)
        same = rpc.Compare(
            key=key, target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, mod_revision=self._token
        )
        puts = [rpc.RequestOp(request_put=put) for put in (entry, head)]
        answer = await self._txn(rpc.TxnRequest(compare=[same], success=puts), timeout=10)
        if not answer.succeeded:
            raise SystemExit("somebody else writes to the trial's log")
        self._seq, self._prev = seq, head.value.decode()
        self._token = answer.header.revision


async def measure(settings: EtcdSettings, at_once: int, count: int) -> Timed:
    """Append ``count`` commits, so many at once."""
    commits = [new_commit() for _ in range(count)]
    async with grpc.aio.insecure_channel(settings.endpoints[0]) as channel:
        trial = Trial(channel)
        writing = asyncio.create_task(trial.run())
        try:
            return await in_flight(
                lambda: trial.append(encode_commit(commits.pop())), at_once, count
            )
        finally:
            writing.cancel()
