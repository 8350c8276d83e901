"""The one door to etcd: ranges, transactions, watches and leases over connections of our own.

The generated messages are aetcd's; its client is not used, for it knows neither TLS nor several
endpoints and hides the revisions that the log needs.
"""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Self

import anyio
import grpc.aio
from aetcd import rpc

from mulligan.errors import NotFound, Unavailable
from mulligan.log.etcd_kv import (
    Change,
    Compare,
    Delete,
    EtcdSettings,
    Get,
    KeyValue,
    ListedMember,
    Put,
    Ranged,
    StoreStatus,
    TxnResult,
    prefix_end,
)
from mulligan.log.etcd_lane import Lane, Preferred, answered, bare, in_our_words, is_lost
from mulligan.log.store import Compacted, OutcomeUnknown, WatchLost
from mulligan.trial import refuse_in_trial

__all__ = [
    "Change", "Compacted", "Compare", "Delete", "Etcd", "EtcdSettings", "Get", "KeyValue",
    "ListedMember", "OutcomeUnknown", "Put", "Ranged", "StoreStatus", "TxnResult", "WatchLost",
    "prefix_end",
]  # fmt: skip

_HAS_LEADER = (("hasleader", "true"),)
_KV = "/etcdserverpb.KV/"
_LEASE = "/etcdserverpb.Lease/"
_CLUSTER = "/etcdserverpb.Cluster/"
_MAINTENANCE = "/etcdserverpb.Maintenance/"
_SNAPSHOT_S = 30.0
"""So long etcd may take for each piece of a snapshot."""


class Etcd:
    """A client of one etcd cluster; use as an async context manager.

    Every call has a deadline. Reads are tried on each endpoint in turn; writes are sent once.
    Errors: Unavailable when nothing was sent, OutcomeUnknown when a write got no answer,
    Exhausted when etcd has no space or too much to do.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        self._timeout = settings.timeout
        preferred = Preferred()
        self._writes, self._watches, self._bulk = (Lane(settings, preferred) for _ in range(3))
        self._methods: dict[tuple[grpc.aio.Channel, str], Any] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; calls under way fail."""
        with anyio.CancelScope(shield=True):
            for lane in (self._writes, self._watches, self._bulk):
                await lane.close()

    async def get(self, key: str, *, timeout: float | None = None) -> KeyValue | None:
        """Return one key, or None; linearizable."""
        found = await self.range(key, timeout=timeout)
        return found.kvs[0] if found.kvs else None

    async def range(
        self,
        key: str,
        end: str = "",
        *,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
        changed_after: int = 0,
        bulk: bool = False,
        timeout: float | None = None,
    ) -> Ranged:
        """Return [key, end), linearizable; ``bulk`` keeps large answers out of the writes' way.

        ``changed_after`` leaves out keys that have not changed since that revision.
        """
        request = rpc.RangeRequest(
            key=key.encode(),
            range_end=end.encode(),
            limit=limit,
            revision=revision,
            keys_only=keys_only,
            min_mod_revision=changed_after + 1 if changed_after else 0,
        )
        lane = self._bulk if bulk else self._writes
        return _ranged(await self._read(lane, _KV + "Range", request, rpc.RangeResponse, timeout))

    async def range_prefix(
        self, prefix: str, *, keys_only: bool = False, timeout: float | None = None
    ) -> Ranged:
        """Return every key that begins with ``prefix``."""
        return await self.range(prefix, prefix_end(prefix), keys_only=keys_only, timeout=timeout)

    async def put(
        self, key: str, value: bytes, *, lease: int = 0, timeout: float | None = None
    ) -> int:
        """Store a value and return the store's revision."""
        request = rpc.PutRequest(key=key.encode(), value=value, lease=lease)
        answer = await self._write(_KV + "Put", request, rpc.PutResponse, timeout)
        return int(answer.header.revision)

    async def delete(self, key: str, end: str = "", *, timeout: float | None = None) -> int:
        """Delete one key or [key, end); return how many there were."""
        request = rpc.DeleteRangeRequest(key=key.encode(), range_end=end.encode())
        answer = await self._write(_KV + "DeleteRange", request, rpc.DeleteRangeResponse, timeout)
        return int(answer.deleted)

    async def txn(
        self,
        compare: Sequence[Compare],
        success: Sequence[Put | Get | Delete],
        failure: Sequence[Put | Get | Delete] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult:
        """Run ``success`` if every comparison holds, else ``failure``, at one revision."""
        request = rpc.TxnRequest(
            compare=[_compare(c) for c in compare],
            success=[_operation(o) for o in success],
            failure=[_operation(o) for o in failure],
        )
        answer = await self._write(_KV + "Txn", request, rpc.TxnResponse, timeout)
        gets = tuple(
            _ranged(response.response_range, answer.header.revision)
            for response in answer.responses
            if response.WhichOneof("response") == "response_range"
        )
        deleted = sum(one.response_delete_range.deleted for one in answer.responses)
        return TxnResult(answer.header.revision, answer.succeeded, gets, deleted)

    async def compact(self, revision: int, *, timeout: float = 30.0) -> None:
        """Forget history before ``revision``; return once its space is free for reuse.

        Raise Compacted if that was done already.
        """
        request = rpc.CompactionRequest(revision=revision, physical=True)
        await self._write(_KV + "Compact", request, rpc.CompactionResponse, timeout)

    async def lease_grant(self, ttl: int) -> int:
        """Return the id of a new lease that lives ``ttl`` seconds beyond its last keep-alive."""
        request = rpc.LeaseGrantRequest(TTL=ttl)
        answer = await self._write(_LEASE + "LeaseGrant", request, rpc.LeaseGrantResponse, None)
        return int(answer.ID)

    async def lease_keepalive(self, lease: int) -> int:
        """Renew a lease; return its seconds to live; raise NotFound when it has expired."""
        channel = await self._watches.connected()
        call: Any = _stream(channel, _LEASE + "LeaseKeepAlive", rpc.LeaseKeepAliveResponse)
        try:
            with anyio.fail_after(self._timeout):
                await answered(call.write(rpc.LeaseKeepAliveRequest(ID=lease)))
                answer: Any = await answered(call.read())
        except grpc.aio.AioRpcError as error:
            self._watches.leave(channel)
            raise in_our_words(error, write=False) from error
        except TimeoutError as error:
            self._watches.leave(channel)
            raise Unavailable("etcd did not renew a lease in time") from error
        finally:
            call.cancel()
        if answer is grpc.aio.EOF:
            raise Unavailable("etcd ended the lease's stream")
        if answer.TTL <= 0:
            raise NotFound("lease", f"{lease:x}")
        return int(answer.TTL)

    async def lease_revoke(self, lease: int) -> None:
        """End a lease and delete its keys; raise NotFound when it has expired."""
        request = rpc.LeaseRevokeRequest(ID=lease)
        await self._write(_LEASE + "LeaseRevoke", request, rpc.LeaseRevokeResponse, None)

    async def status(self) -> StoreStatus:
        """Return what the member we talk to says of itself."""
        answer = await self._read(
            self._writes, _MAINTENANCE + "Status", rpc.StatusRequest(), rpc.StatusResponse, None
        )
        return StoreStatus(
            version=answer.version,
            db_size=answer.dbSize,
            db_size_in_use=answer.dbSizeInUse,
            leader=answer.leader,
            revision=answer.header.revision,
            member=answer.header.member_id,
        )

    async def members(self) -> Sequence[ListedMember]:
        """Return the cluster's members as the one we talk to knows them, even without a leader."""
        answer = await self._read(
            self._writes,
            _CLUSTER + "MemberList",
            rpc.MemberListRequest(),
            rpc.MemberListResponse,
            None,
            metadata=(),
        )
        return [
            ListedMember(
                id=one.ID,
                name=one.name,
                addresses=tuple(bare(url) for url in one.clientURLs),
                learner=one.isLearner,
            )
            for one in answer.members
        ]

    async def alarms(self) -> tuple[str, ...]:
        """Return the names of active alarms, such as ``NOSPACE``."""
        return tuple(rpc.AlarmType.Name(member.alarm) for member in await self._alarms())

    async def disarm(self) -> None:
        """Clear every alarm on every member; space must have been made before."""
        for member in await self._alarms():
            request = rpc.AlarmRequest(
                action=rpc.AlarmRequest.DEACTIVATE, memberID=member.memberID, alarm=member.alarm
            )
            await self._write(_MAINTENANCE + "Alarm", request, rpc.AlarmResponse, None)

    async def _alarms(self) -> Sequence[Any]:
        request = rpc.AlarmRequest(action=rpc.AlarmRequest.GET)
        answer = await self._read(
            self._writes, _MAINTENANCE + "Alarm", request, rpc.AlarmResponse, None
        )
        return list(answer.alarms)

    async def defragment(self, timeout: float = 60.0) -> None:
        """Give freed space back to the file system; the member stops serving meanwhile."""
        request = rpc.DefragmentRequest()
        await self._write(_MAINTENANCE + "Defragment", request, rpc.DefragmentResponse, timeout)

    async def snapshot(self) -> AsyncGenerator[bytes, None]:
        """Yield a snapshot of everything in the member we talk to, as `etcdctl snapshot save` does.

        Its last 32 bytes are the sha256 of those before. Close it with ``contextlib.aclosing``.
        """
        channel = await self._bulk.connected()
        method: Any = channel.unary_stream(
            _MAINTENANCE + "Snapshot",
            request_serializer=_serialize,
            response_deserializer=rpc.SnapshotResponse.FromString,
        )
        call = method(rpc.SnapshotRequest(), metadata=_HAS_LEADER)
        try:
            while True:
                with anyio.fail_after(_SNAPSHOT_S):
                    answer: Any = await answered(call.read())
                if answer is grpc.aio.EOF:
                    return
                yield answer.blob
        except grpc.aio.AioRpcError as error:
            raise in_our_words(error, write=False) from error
        except TimeoutError as error:
            raise Unavailable("etcd does not send its snapshot") from error
        finally:
            call.cancel()

    async def watch(
        self, key: str, end: str = "", *, revision: int = 0
    ) -> AsyncGenerator[Sequence[Change], None]:
        """Yield the changes of [key, end) from ``revision`` on, first an empty batch once it runs.

        Raise Compacted or WatchLost when it ends; a watch without a leader ends too. Close it
        with ``contextlib.aclosing``.
        """
        try:
            channel = await self._watches.connected()
        except Unavailable as error:
            raise WatchLost(error.message) from error
        call: Any = _stream(channel, "/etcdserverpb.Watch/Watch", rpc.WatchResponse)
        create = rpc.WatchCreateRequest(
            key=key.encode(), range_end=end.encode(), start_revision=revision, fragment=True
        )
        try:
            with anyio.fail_after(self._timeout):
                await answered(call.write(rpc.WatchRequest(create_request=create)))
                first: Any = await answered(call.read())
            async with aclosing(_changes(call, first)) as changes:
                async for batch in changes:
                    yield batch
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            self._watches.leave(channel)
            raise WatchLost(f"the watch on {key} broke: {error!r}") from error
        finally:
            call.cancel()

    def _unary(self, channel: grpc.aio.Channel, path: str, response: Any) -> Any:
        method = self._methods.get((channel, path))
        if method is None:
            method = self._methods[channel, path] = channel.unary_unary(
                path, request_serializer=_serialize, response_deserializer=response.FromString
            )
        return method

    async def _read(
        self,
        lane: Lane,
        path: str,
        request: Any,
        response: Any,
        timeout: float | None,
        metadata: tuple[tuple[str, str], ...] = _HAS_LEADER,
    ) -> Any:
        until = time.monotonic() + (timeout or self._timeout)
        for tries_left in reversed(range(lane.endpoints)):
            channel = await lane.connected()
            left = max(0.05, until - time.monotonic())
            try:
                limit = left if tries_left == 0 else left / 2
                method = self._unary(channel, path, response)
                return await answered(method(request, timeout=limit, metadata=metadata))
            except grpc.aio.AioRpcError as error:
                if is_lost(error):
                    lane.leave(channel)
                    if tries_left:
                        continue
                raise in_our_words(error, write=False) from error
        raise AssertionError("a lane without endpoints")

    async def _write(self, path: str, request: Any, response: Any, timeout: float | None) -> Any:
        refuse_in_trial("write to etcd")
        channel = await self._writes.connected()
        try:
            method = self._unary(channel, path, response)
            limit = timeout or self._timeout
            return await answered(method(request, timeout=limit, metadata=_HAS_LEADER))
        except grpc.aio.AioRpcError as error:
            if is_lost(error):
                self._writes.leave(channel)
            raise in_our_words(error, write=True) from error


async def _changes(call: Any, first: Any) -> AsyncGenerator[Sequence[Change], None]:
    answer = first
    while answer is not grpc.aio.EOF:
        if answer.compact_revision:
            raise Compacted(f"history before revision {answer.compact_revision} is compacted")
        if answer.canceled:
            raise WatchLost(answer.cancel_reason or "etcd cancelled the watch")
        yield [_change(event) for event in answer.events]
        answer = await answered(call.read())
    raise WatchLost("etcd ended the watch's stream")


def _stream(channel: grpc.aio.Channel, path: str, response: Any) -> Any:
    multi = channel.stream_stream(
        path, request_serializer=_serialize, response_deserializer=response.FromString
    )
    return multi(metadata=_HAS_LEADER)


def _serialize(message: Any) -> bytes:
    serialized: bytes = message.SerializeToString()
    return serialized


def _change(event: Any) -> Change:
    kv = event.kv
    return Change(
        kv.key.decode(), kv.value, event.type == 1, kv.create_revision, kv.mod_revision, kv.version
    )


def _ranged(answer: Any, revision: int | None = None) -> Ranged:
    kvs = tuple(
        KeyValue(
            kv.key.decode(), kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease
        )
        for kv in answer.kvs
    )
    return Ranged(answer.header.revision if revision is None else revision, kvs, answer.more)


_TARGETS = {
    "mod": (rpc.Compare.MOD, "mod_revision"),
    "create": (rpc.Compare.CREATE, "create_revision"),
    "version": (rpc.Compare.VERSION, "version"),
    "value": (rpc.Compare.VALUE, "value"),
}


def _compare(compare: Compare) -> Any:
    target, field = _TARGETS[compare.target]
    return rpc.Compare(
        key=compare.key.encode(),
        target=target,
        range_end=compare.end.encode(),
        result=rpc.Compare.LESS if compare.less else rpc.Compare.EQUAL,
        **{field: compare.value},
    )


def _operation(operation: Put | Get | Delete) -> Any:
    match operation:
        case Put(key, value, lease):
            put = rpc.PutRequest(key=key.encode(), value=value, lease=lease)
            return rpc.RequestOp(request_put=put)
        case Get(key, end, limit):
            read = rpc.RangeRequest(key=key.encode(), range_end=end.encode(), limit=limit)
            return rpc.RequestOp(request_range=read)
        case Delete(key, end):
            gone = rpc.DeleteRangeRequest(key=key.encode(), range_end=end.encode())
            return rpc.RequestOp(request_delete_range=gone)
