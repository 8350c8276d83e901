"""One seed: a world is made, lives through trouble, comes to rest, and is looked at."""

import logging
import traceback

import anyio

from . import checking, virtual
from .isolation import read_as_tenants
from .plan import Plan, plan
from .world import PATIENCE, Make, World


class Failed(AssertionError):
    """Something happened in a seed that must not; ``world`` knows what led to it."""

    def __init__(self, seed: int, problems: list[str], world: World) -> None:
        super().__init__(f"seed {seed}: " + "; ".join(problems[:5]))
        self.problems = problems
        self.world = world


class _Errors(logging.Handler):
    """Collects what the product itself calls an error: it goes on, the simulation does not."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.found.append(self.format(record))


def simulate(seed: int, make: Make | None = None, drawn: Plan | None = None) -> World:
    """Live through a seed and return its world; raise Failed."""
    world = World(drawn or plan(seed), make or Make())
    errors = _Errors()
    logger = logging.getLogger("mulligan")
    before = logger.level, logger.propagate
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.addHandler(errors)
    problems: list[str] = []
    try:
        virtual.run(_live(world))
        problems = checking.problems(world)
    except Exception as error:
        problems = _told(error)
    finally:
        logger.removeHandler(errors)
        logger.setLevel(before[0])
        logger.propagate = before[1]
    problems = [*world.disk.violations, *errors.found, *problems]
    if problems:
        raise Failed(seed, problems, world)
    return world


def _told(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [text for one in error.exceptions for text in _told(one)]
    where = traceback.extract_tb(error.__traceback__)[-1]
    return [f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"]


async def _live(world: World) -> None:
    async with anyio.create_task_group() as tasks:
        world.tasks = tasks
        for process in world.processes:
            tasks.start_soon(process.run, name=process.name)
        with anyio.move_on_after(PATIENCE) as in_time:
            await world.set_up()
            async with anyio.create_task_group() as beside:
                beside.start_soon(_trouble, world)
                async with anyio.create_task_group() as lives:
                    world.start_lives(lives)
                beside.cancel_scope.cancel()
            world.calm()
            while world.restless():
                await anyio.sleep(1.0)
            await checking.look_back(world)
            await read_as_tenants(world)
        tasks.cancel_scope.cancel()
    if in_time.cancelled_caught:
        raise AssertionError(f"never came to rest: {world.restless() or 'clients still wait'}")


async def _trouble(world: World) -> None:
    """Have things go wrong for a while: clients insist, so all trouble has an end."""
    with anyio.move_on_after(world.plan.horizon * 2):
        async with anyio.create_task_group() as trouble:
            world.start_trouble(trouble)
            await anyio.sleep_forever()
    world.calm()


def described(world: World) -> str:
    """Tell all that happened."""
    return "\n".join([world.plan.named, *world.trace.lines()])
