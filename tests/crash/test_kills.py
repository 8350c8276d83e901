"""Every process of a region is killed and frozen again and again while clients are at work."""

import os
import random
from functools import partial

import pytest

from tests.crash.arena import Arena
from tests.crash.killer import Killer
from tests.crash.saying import say
from tests.e2e.region import RunningRegion, short_folder

pytestmark = [pytest.mark.crash, pytest.mark.timeout(0)]

KILLS = int(os.environ.get("MULLIGAN_KILLS", "300"))
SEED = int(os.environ.get("MULLIGAN_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
ROUND = 40
"""Kills from one proof to the next."""
MACHINES = 5


async def test_nothing_is_lost_or_done_twice_though_every_process_is_killed_at_random(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say(capsys, f"{KILLS} kills with MULLIGAN_SEED={SEED}")
    with short_folder() as folder:
        async with RunningRegion(folder) as region, Arena(region, folder, SEED, MACHINES) as arena:
            killer = Killer(region, arena.rng)
            while killer.kills < KILLS:
                kills = min(ROUND, KILLS - killer.kills)
                await arena.round(partial(killer.run, kills))
                say(capsys, f"{killer.kills} kills, {arena.counts()}, {killer.slowest_s:.1f} s")
    say(capsys, str(dict(sorted(killer.blows.items()))))
