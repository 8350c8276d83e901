"""Objects as they are found by what they carry, against a loop over all of them."""

from typing import Any

import pytest

from mulligan.config import Dsn
from mulligan.errors import InvalidArgument
from mulligan.handlers.group import CreateGroup, DeleteGroup
from mulligan.handlers.metadata import Metadata, UpdateMetadata
from mulligan.handlers.metadef import CreateMetadef, Definition
from mulligan.handlers.objects import OBJECTS, Viewer, sees
from mulligan.handlers.userdata import CreateUserData, DeleteUserData
from mulligan.log.memory import MemoryDisk
from mulligan.model import AccountId, GroupId, MetadefId, ProjectId, UserDataId, stream_id
from mulligan.queries import metadata as queries
from mulligan.queries.database import Database
from mulligan.queries.metadata import Search, find_objects
from mulligan.queries.paging import PageRequest
from tests.projections.conftest import folding
from tests.projections.histories import World, write

ADMIN = Viewer(account=AccountId("root"), roles=("admin",))
PROJECTS = (ProjectId("red"), ProjectId("blue"))


def decorated(seed: int) -> tuple[World, MetadefId]:
    """Groups and user data of two projects, most of them tagged, some of them gone."""
    world = World(seed)
    rng = world.rng
    size = MetadefId(world.id())
    world.do(CreateMetadef(metadef=size, name="size", definition=Definition(), viewer=ADMIN))
    for n in range(90):
        uuid = world.id()
        kind = rng.choice(("group", "userdata"))
        if kind == "group":
            world.do(CreateGroup(group=GroupId(uuid), name=f"g{n}"))
        else:
            world.do(CreateUserData(
                user_data=UserDataId(uuid), name=f"u{n}", project=rng.choice(PROJECTS),
                version="1", sha256="", size=1,
            ))  # fmt: skip
        tags = tuple(t for t in ("all", "half", "rare") if rng.random() < TAGS[t])
        values: dict[str, Any] = {"size": rng.choice((1, 2, "1"))} if rng.random() < 0.5 else {}
        world.do(UpdateMetadata(
            kind=kind, object=uuid, called=uuid, viewer=ADMIN, add_tags=tags, set=values
        ))  # fmt: skip
        if rng.random() < 0.2:
            gone = DeleteGroup(group=GroupId(uuid))
            world.do(gone if kind == "group" else DeleteUserData(user_data=UserDataId(uuid)))
    world.flush()
    return world, size


TAGS = {"all": 0.95, "half": 0.5, "rare": 0.1}


def expected(world: World, search: Search, viewer: Viewer) -> list[tuple[str, str]]:
    found = []
    for state in world.states.values():
        if not isinstance(state, Metadata) or search.kind not in {"", state.kind}:
            continue
        thing = world.states[stream_id(state.kind, state.object)]
        if thing.deleted or not sees(viewer, state.kind, thing):
            continue
        values = {k: state.values.get(k) for k in search.attributes}
        same = all(repr(values[k]) == repr(v) for k, v in search.attributes.items())
        if set(search.tags) <= set(state.tags) and same and (state.tags or state.values):
            found.append((state.kind, state.object))
    return sorted(found)


async def pages(
    database: Database, search: Search, viewer: Viewer, size: int
) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    token = ""
    while True:
        page = await find_objects(database, search, viewer, PageRequest(size=size, token=token))
        assert len(page.items) <= size
        found += [(one.metadata.kind, one.metadata.object) for one in page.items]
        token = page.next_token
        if not token:
            return found


async def test_found_is_what_a_loop_finds_whoever_looks_and_however_paged(
    database: Dsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, size = decorated(11)
    disk = MemoryDisk()
    write(disk, world.entries)
    viewers = [ADMIN, *(Viewer(account=AccountId("a"), project=p) for p in PROJECTS)]
    terms: list[dict[str, Any]] = [{}, {size: 1}, {size: "1"}]
    searches = [
        Search(kind=kind, tags=tags, attributes=attributes)
        for kind in ("", "group", "userdata", "image")
        for tags in ((), ("all",), ("half", "all"), ("all", "rare"), ("none",))
        for attributes in terms
    ]
    async with folding(disk, database), Database(database) as reads:
        for chunk, looked, page in ((2048, 2500, 100), (2, 3, 7)):
            monkeypatch.setattr(queries, "MAX_CHUNK", chunk)
            monkeypatch.setattr(queries, "MAX_LOOKED", looked)
            for search in searches:
                for viewer in viewers:
                    wanted = expected(world, search, viewer)
                    assert await pages(reads, search, viewer, page) == wanted, search
        first = await find_objects(reads, searches[0], ADMIN, PageRequest(size=1))
        for other in (Search(tags=("all",)), Search(kind="group")):
            with pytest.raises(InvalidArgument, match="another search"):
                await find_objects(reads, other, ADMIN, PageRequest(size=1, token=first.next_token))
        for token in ("nonsense", "e30="):
            with pytest.raises(InvalidArgument, match="no page token"):
                await find_objects(reads, searches[0], ADMIN, PageRequest(size=1, token=token))


async def test_every_kind_of_object_can_be_searched(database: Dsn) -> None:
    world, _ = decorated(1)
    disk = MemoryDisk()
    write(disk, world.entries)
    tenant = Viewer(account=AccountId("a"), project=PROJECTS[0])
    async with folding(disk, database), Database(database) as reads:
        for kind in OBJECTS:
            for viewer in (ADMIN, tenant):
                await find_objects(reads, Search(kind=kind, tags=("x",)), viewer, PageRequest())
