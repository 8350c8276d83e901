"""Regions on one machine are told of each other, each as soon as it serves."""

import sys
import time
from collections.abc import Sequence

import anyio

from mulligan.client.client import Client
from mulligan.client.context import Context
from mulligan.client.introductions import described, described_by, known_here, tell
from mulligan.config import Config
from mulligan.embedded.ready import all_serving
from mulligan.embedded.region import RegionPaths
from mulligan.embedded.up import context_of
from mulligan.errors import DeadlineExceeded, MulliganError, Unavailable

SELF_WITHIN_S = 20.0
"""Seconds that a region has to say what it is, before others are told what its folder says."""
_SERVING_S = 10.0
_RETRY_S = 1.0


class _Neighbour:
    """A region of ours: what others are to know of it, as soon as that is known."""

    def __init__(self, config: Config) -> None:
        paths = RegionPaths(state_dir=config.state_dir)
        self.config = config
        self.context: Context = context_of(config, paths)
        self.secret = paths.admin_secret.read_text().strip()
        self.told = described_by(self.context)
        self.answered = False
        self.settled = anyio.Event()


def introduce(configs: Sequence[Config]) -> int:
    """Tell each region of all the others, trying until that is done; return the exit code."""
    return anyio.run(_introduce, configs)


async def _introduce(configs: Sequence[Config]) -> int:
    all_of_them = [_Neighbour(config) for config in configs]
    outcomes: list[bool] = []

    async def tell_it(one: _Neighbour) -> None:
        outcomes.append(await _tell(one, [other for other in all_of_them if other is not one]))

    async with anyio.create_task_group() as tasks:
        for one in all_of_them:
            tasks.start_soon(tell_it, one)
    if all(outcomes):
        sys.stdout.write("the regions know each other: mulligan region list\n")
    return 0


async def _tell(one: _Neighbour, others: Sequence[_Neighbour]) -> bool:
    """Tell a region of the others, however long it is away; return False if it will not have it."""
    began = time.monotonic()
    complained = False
    while True:
        try:
            await all_serving(one.config, _SERVING_S)
            await _tell_once(one, others)
            return True
        except (Unavailable, DeadlineExceeded, TimeoutError) as error:
            waited = time.monotonic() - began
            if waited > SELF_WITHIN_S:
                one.settled.set()
                if not complained:
                    _complain(one, f"is not told of the others yet: {error}")
                complained = True
        except MulliganError as error:
            one.settled.set()
            _complain(one, f"is not told of the others: {error}; see `mulligan region connect`")
            return False
        await anyio.sleep(_RETRY_S)


async def _tell_once(one: _Neighbour, others: Sequence[_Neighbour]) -> None:
    async with Client(one.context, secret=one.secret) as client:
        one.told, one.answered = await described(client), True
        one.settled.set()
        known = await known_here(client)
        for other in others:
            await other.settled.wait()
            region = other.told
            before = known.get(region.name)
            if before is not None and not other.answered:
                region.parent, region.visibility = before.parent, before.visibility
                region.attributes = before.attributes
            await tell(client, region)


def _complain(one: _Neighbour, text: str) -> None:
    sys.stderr.write(f"region {one.config.region} {text}\n")
