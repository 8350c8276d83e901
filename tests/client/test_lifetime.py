"""A client after its end, and where it does not belong: a word at once, and nothing that hangs."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from mulligan.client.client import Client
from mulligan.errors import FailedPrecondition
from mulligan.proto.v1 import WhoAmIRequest
from tests.client.fakes import SECRET, Cluster

SOON_S = 5.0

Message = TypeVar("Message")


async def test_a_client_that_is_closed_says_so(cluster: Cluster) -> None:
    async with Client(cluster.context(), secret=SECRET) as client:
        await client.iam.who_am_i(WhoAmIRequest())
    with pytest.raises(FailedPrecondition, match="the client is closed"):
        await client.iam.who_am_i(WhoAmIRequest())
    with pytest.raises(FailedPrecondition, match="the client is closed"):
        await client.at("1").endpoints()


async def test_a_stream_that_somebody_waits_for_ends_with_its_client(cluster: Cluster) -> None:
    client = Client(cluster.context(), secret=SECRET)
    async with client:
        watch = client.catalog.watch_endpoints()
        await anext(watch)
        waiting = asyncio.create_task(_next(watch))
        await checkpoint()
    with anyio.fail_after(SOON_S), pytest.raises(FailedPrecondition, match="the client is closed"):
        await waiting


async def test_another_event_loop_is_refused_at_once(cluster: Cluster) -> None:
    client = Client(cluster.context(), secret=SECRET)

    def in_a_loop_of_its_own() -> str:
        return asyncio.run(client.iam.who_am_i(WhoAmIRequest())).account_name

    assert await anyio.to_thread.run_sync(in_a_loop_of_its_own) == "ada"
    with anyio.fail_after(SOON_S), pytest.raises(FailedPrecondition, match="a client in each"):
        await client.iam.who_am_i(WhoAmIRequest())
    client.close()


async def _next(watch: AsyncIterator[Message]) -> Message:
    return await anext(watch)
