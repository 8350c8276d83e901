"""Every process of a region is killed and frozen again and again while clients are at work."""

import os
import random
from functools import partial

import pytest

from tests.crash.arena import Arena, require_none
from tests.crash.growth import Held, grown, held_by_parts
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
            first: dict[str, Held] = {}
            while killer.kills < KILLS:
                kills = min(ROUND, KILLS - killer.kills)
                await arena.round(partial(killer.run, kills))
                say(capsys, f"{killer.kills} kills, {arena.counts()}, {killer.slowest_s:.1f} s")
                first = first or held_by_parts(region.paths.state_dir / "run", region.supervisor)
            last = held_by_parts(region.paths.state_dir / "run", region.supervisor)
            say(capsys, f"open files: {[(n, first[n].files, last[n].files) for n in last]}")
            require_none(list(grown(first, last)))
    say(capsys, f"well again after {max(arena.well_after):.1f} s at most")
    say(capsys, str(dict(sorted(killer.blows.items()))))
