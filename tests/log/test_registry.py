"""Leases: presence, ownership and the fences they give."""

import asyncio

import anyio
import pytest

from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.keys import Keys
from mulligan.log.protocol import Fenced
from mulligan.log.registry import (
    Member,
    Members,
    Membership,
    Registration,
    member_value,
    watch_members,
)
from mulligan.model import RegionName, new_id

from .commits import commit, read
from .conftest import EtcdServer


def registration(etcd: Etcd, keys: Keys, instance: str) -> Registration:
    member = Member(instance=instance, endpoint=f"127.0.0.1:{instance}")
    return Registration(etcd, keys.service("iam", instance), member_value(member), ttl=3)


async def become(membership: Membership, *instances: str) -> None:
    with anyio.fail_after(15):
        while {m.instance for m in membership.members.values()} != set(instances):
            await asyncio.sleep(0.01)


async def test_members_come_and_go(shared_etcd: EtcdServer) -> None:
    keys = Keys(RegionName(new_id()))
    changes: list[Members] = []
    async with (
        Etcd(shared_etcd.settings) as etcd,
        watch_members(etcd, keys.service("iam"), changes.append) as members,
    ):
        async with registration(etcd, keys, "1").hold() as one:
            await one.acquired()
            async with registration(etcd, keys, "2").hold():
                await become(members, "1", "2")
            await become(members, "1")
        await become(members)
        assert changes[-1] == {}


async def test_a_lost_lease_is_taken_again_and_its_fence_falls(shared_etcd: EtcdServer) -> None:
    region = RegionName(new_id())
    async with Etcd(shared_etcd.settings) as etcd, EtcdLog.open(etcd, region) as log:
        async with registration(etcd, Keys(region), "1").hold() as one:
            await one.acquired()
            fence = one.fence()
            await log.append(commit("machine/a"), read=read(0), fence=fence)
            found = await etcd.get(one.key)
            assert found
            await etcd.lease_revoke(found.lease)
            with anyio.fail_after(10):
                while not one.held or one.fence() == fence:
                    await asyncio.sleep(0.02)
            with pytest.raises(Fenced):
                await log.append(commit("machine/b"), read=read(1), fence=fence)
            await log.append(commit("machine/c"), read=read(1), fence=one.fence())
        with pytest.raises(Fenced):
            one.fence()


async def test_work_has_one_owner_and_passes_to_the_next(shared_etcd: EtcdServer) -> None:
    key = Keys(RegionName(new_id())).lease("machine-shard/1")
    async with Etcd(shared_etcd.settings) as etcd:
        first = Registration(etcd, key, b"first", exclusive=True, ttl=3)
        second = Registration(etcd, key, b"second", exclusive=True, ttl=3)
        async with anyio.create_task_group() as tasks:
            async with first.hold():
                await first.acquired()
                tasks.start_soon(_own, second)
                with anyio.move_on_after(0.7):
                    await second.acquired()
                assert first.held
                assert not second.held
            with anyio.fail_after(10):
                await second.acquired()
            tasks.cancel_scope.cancel()


async def _own(registration: Registration) -> None:
    async with registration.hold():
        await anyio.sleep_forever()


async def test_members_are_followed_across_a_restart(own_etcd: EtcdServer) -> None:
    keys = Keys(RegionName("r"))
    async with (
        Etcd(own_etcd.settings) as etcd,
        watch_members(etcd, keys.service("iam")) as members,
        registration(etcd, keys, "1").hold(),
    ):
        await become(members, "1")
        own_etcd.kill()
        await asyncio.to_thread(own_etcd.start)
        async with registration(etcd, keys, "2").hold():
            await become(members, "1", "2")
