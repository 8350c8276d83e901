"""Metadefs, tags and attributes: who defines, who writes, what a value must be, who sees it."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mulligan.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    MulliganError,
    NotFound,
    PermissionDenied,
)
from mulligan.events.codec import Event
from mulligan.handlers.decision import Command
from mulligan.handlers.image import Image
from mulligan.handlers.kinds import KINDS
from mulligan.handlers.metadata import Metadata, UpdateMetadata, check_tag, metadata_stream, shown
from mulligan.handlers.metadef import (
    CreateMetadef,
    Definition,
    DeleteMetadef,
    UpdateMetadef,
    known,
)
from mulligan.handlers.objects import OBJECTS, Sight, Viewer, decorates, sees
from mulligan.handlers.userdata import UserData
from mulligan.handlers.values import canonical, digest, plain
from mulligan.model import (
    AccountId,
    ImageId,
    MetadefId,
    ProjectId,
    StreamId,
    UserDataId,
    stream_id,
    stream_kind,
)
from tests.handlers.given import NOON

RED, BLUE = ProjectId("red"), ProjectId("blue")
ADMIN = Viewer(account=AccountId("root"), roles=("admin",))
OPERATOR = Viewer(account=AccountId("olga"), roles=("operator",))
OWNER = Viewer(account=AccountId("otto"), project=RED, roles=("owner",))
MEMBER = Viewer(account=AccountId("mary"), project=RED, roles=("member",))
READER = Viewer(account=AccountId("rob"), project=RED, roles=("reader",))
STRANGER = Viewer(account=AccountId("bert"), project=BLUE, roles=("owner",))

NUMBER = Definition(schema={"type": "integer", "minimum": 1})


class World:
    """Streams that commands are decided on and folded into, without a log."""

    def __init__(self) -> None:
        self.states: dict[StreamId, Any] = {}
        self.add("userdata", "red-data", UserData(
            id=UserDataId("red-data"), name="d", project=RED, version="1", sha256="", size=1
        ))  # fmt: skip
        self.add("image", "os", Image(
            id=ImageId("os"), name="os", url="", sha256="", kind="iso", firmware="", ready_when=""
        ))  # fmt: skip

    def add(self, kind: str, key: str, state: Any) -> None:
        self.states[stream_id(kind, key)] = state

    def do(self, command: Command) -> list[Event]:
        read: set[StreamId] = set()
        seen: Mapping[StreamId, Any] = {}
        while more := set(command.reads(seen)) - read:
            read |= more
            seen = {stream: self.states.get(stream) for stream in read}
        changes = command.decide(seen, NOON)
        for stream, event in changes:
            assert stream in read
            evolve = KINDS[stream_kind(stream)].evolve
            self.states[stream] = evolve(self.states.get(stream), event, NOON)
        return [event for _, event in changes]

    def define(
        self, name: str, definition: Definition = NUMBER, viewer: Viewer = ADMIN
    ) -> MetadefId:
        uuid = MetadefId(f"018f0000-0000-7000-8000-{len(self.states):012}")
        self.do(CreateMetadef(metadef=uuid, name=name, definition=definition, viewer=viewer))
        return uuid

    def update(self, viewer: Viewer = MEMBER, kind: str = "userdata", **wish: Any) -> list[Event]:
        uuid = "red-data" if kind == "userdata" else "os"
        return self.do(UpdateMetadata(kind=kind, object=uuid, called=uuid, viewer=viewer, **wish))

    def carried(self, viewer: Viewer = MEMBER) -> tuple[tuple[str, ...], dict[str, Any]]:
        held: Metadata | None = self.states.get(metadata_stream("userdata", "red-data"))
        return held.tags if held else (), shown(held, self.states, viewer, RED)


def test_a_value_meets_its_schema_or_is_refused_with_its_place() -> None:
    world = World()
    world.define("slots", Definition(schema={"properties": {"n": {"type": "integer"}}}))
    world.update(set={"slots": {"n": 3}})
    assert world.carried() == ((), {"slots": {"n": 3}})
    with pytest.raises(InvalidArgument) as refused:
        world.update(set={"slots": {"n": "three"}})
    assert refused.value.violations[0].field == "set_attributes[slots]['n']"


def test_an_update_happens_whole_or_not_at_all() -> None:
    world = World()
    world.define("slots")
    with pytest.raises(InvalidArgument):
        world.update(add_tags=("new",), set={"slots": 0})
    assert world.carried() == ((), {})


def test_what_is_so_already_changes_nothing() -> None:
    world = World()
    world.define("slots")
    assert world.update(add_tags=("a", "b"), set={"slots": 2})
    assert world.update(add_tags=("b",), remove_tags=("c",), set={"SLOTS": 2}) == []
    assert world.update(remove_tags=("a",), remove=("slots",))
    assert world.carried() == (("b",), {})


def test_one_attribute_is_not_given_twice() -> None:
    world = World()
    uuid = world.define("slots")
    for wish in ({"set": {"slots": 1, uuid: 2}}, {"set": {"slots": 1}, "remove": (uuid,)}):
        with pytest.raises(InvalidArgument, match="given twice"):
            world.update(**wish)


def test_tenants_decorate_what_is_their_projects_and_nothing_else() -> None:
    world = World()
    world.update(OWNER, add_tags=("a",))
    world.update(MEMBER, add_tags=("b",))
    with pytest.raises(PermissionDenied):
        world.update(READER, add_tags=("c",))
    with pytest.raises(PermissionDenied):
        world.update(MEMBER, kind="image", add_tags=("c",))
    world.update(OPERATOR, kind="image", add_tags=("c",))


def test_anothers_object_is_as_absent_as_none() -> None:
    world = World()
    texts = []
    for _ in range(2):
        with pytest.raises(NotFound) as refused:
            world.update(STRANGER, add_tags=("a",))
        texts.append(refused.value.message)
        world.states.pop(stream_id("userdata", "red-data"), None)
    assert texts[0] == texts[1]


def test_write_roles_say_who_sets_an_attribute_and_may_let_tenants_in() -> None:
    world = World()
    world.define("rating", replace(NUMBER, write_roles=("member",)))
    world.define("bill", replace(NUMBER, write_roles=("operator",)))
    world.update(MEMBER, kind="image", set={"rating": 5})
    with pytest.raises(PermissionDenied, match="set by operator"):
        world.update(OWNER, set={"bill": 1})
    world.update(OPERATOR, set={"bill": 1})
    with pytest.raises(PermissionDenied):
        world.update(OWNER, remove=("bill",))


def test_read_roles_hide_a_value_from_others() -> None:
    world = World()
    world.define("cost", replace(NUMBER, read_roles=("owner",)))
    world.update(MEMBER, set={"cost": 7})
    assert world.carried(OWNER) == ((), {"cost": 7})
    assert world.carried(MEMBER) == world.carried(ADMIN) == ((), {})


def test_a_protected_value_stays_once_it_is_set() -> None:
    world = World()
    world.define("asset", replace(NUMBER, protected=True))
    world.update(set={"asset": 12})
    assert world.update(set={"asset": 12}) == []
    for wish in ({"set": {"asset": 13}}, {"remove": ("asset",)}):
        with pytest.raises(FailedPrecondition, match="protected"):
            world.update(ADMIN, **wish)


def test_a_protected_definition_is_unprotected_first_and_by_whom_it_is_meant_for() -> None:
    world = World()
    uuid = world.define("asset", replace(NUMBER, protected=True))

    def change(viewer: Viewer, *fields: str) -> list[Event]:
        return world.do(UpdateMetadef(
            metadef=uuid, called="asset", fields=fields, viewer=viewer,
            definition=Definition(description="new"),
        ))  # fmt: skip

    with pytest.raises(FailedPrecondition, match="protected"):
        change(ADMIN, "description")
    with pytest.raises(FailedPrecondition, match="protected"):
        change(ADMIN, "description", "protected")
    with pytest.raises(FailedPrecondition, match="protected"):
        world.do(DeleteMetadef(metadef=uuid, called="asset", viewer=ADMIN))
    with pytest.raises(PermissionDenied):
        change(OPERATOR, "protected")
    assert change(ADMIN, "protected")
    assert change(OPERATOR, "description")
    assert world.do(DeleteMetadef(metadef=uuid, called="asset", viewer=OPERATOR))


def test_an_owner_defines_for_its_project_and_only_there() -> None:
    world = World()
    uuid = world.define("team", viewer=OWNER)
    assert known(world.states, "team", RED) is not None
    assert known(world.states, "team", BLUE) is None
    assert known(world.states, uuid, ProjectId("")) is None
    with pytest.raises(NotFound):
        world.update(ADMIN, kind="image", set={uuid: 1})
    for viewer, error in ((STRANGER, NotFound), (MEMBER, PermissionDenied)):
        with pytest.raises(error):
            world.do(DeleteMetadef(metadef=uuid, called="team", viewer=viewer))
    with pytest.raises(PermissionDenied):
        world.define("other", viewer=MEMBER)


def test_a_project_does_not_take_a_name_of_the_region() -> None:
    world = World()
    world.define("asset tag")
    with pytest.raises(AlreadyExists):
        world.define("Asset_Tag", viewer=OWNER)
    world.define("team", viewer=OWNER)
    world.define("team", viewer=STRANGER)


def test_where_a_region_takes_a_projects_name_later_both_values_are_shown() -> None:
    world = World()
    world.define("team", viewer=OWNER)
    region = world.define("team", viewer=ADMIN)
    world.update(set={"team": 1, region: 2})
    assert world.carried() == ((), {"team": 1, region: 2})


def test_a_deleted_definition_hides_its_values_and_the_next_update_forgets_them() -> None:
    world = World()
    uuid = world.define("slots")
    world.update(set={"slots": 1})
    world.do(DeleteMetadef(metadef=uuid, called="slots", viewer=ADMIN))
    assert world.carried() == ((), {})
    with pytest.raises(NotFound):
        world.update(set={"slots": 2})
    world.define("slots", Definition(schema={"type": "string"}))
    assert world.carried() == ((), {}), "the new one of the name is another one"
    world.update(add_tags=("a",))
    assert world.states[metadata_stream("userdata", "red-data")].values == {}


def test_kinds_say_what_may_carry_an_attribute() -> None:
    world = World()
    world.define("rack", replace(NUMBER, kinds=("machine",)))
    with pytest.raises(InvalidArgument, match="machine only"):
        world.update(ADMIN, set={"rack": 1})
    with pytest.raises(InvalidArgument, match="kinds"):
        world.define("odd", replace(NUMBER, kinds=("starship",)))
    with pytest.raises(InvalidArgument, match="read_roles"):
        world.define("odd", replace(NUMBER, read_roles=("captain",)))


def test_an_object_has_room_for_64_tags_and_64_kib() -> None:
    world = World()
    world.update(add_tags=tuple(f"t{n}" for n in range(64)))
    with pytest.raises(FailedPrecondition, match="64 tags"):
        world.update(add_tags=("one more",))
    for n in range(10):
        world.define(f"a{n}", Definition(schema={}))
    with pytest.raises(FailedPrecondition, match="bytes"):
        world.update(set={f"a{n}": "x" * 8000 for n in range(10)})
    with pytest.raises(InvalidArgument, match="8192"):
        world.update(set={"a1": "x" * 8192})


@pytest.mark.parametrize("tag", ["", " a", "a ", "a\n", "a\0", "x" * 256, "\u202e"])
def test_a_tag_that_cannot_be_read_back_is_refused(tag: str) -> None:
    with pytest.raises(InvalidArgument):
        check_tag(tag, "add_tags[0]")


def test_a_changed_schema_leaves_old_values_and_holds_for_new_ones() -> None:
    world = World()
    uuid = world.define("slots")
    world.update(set={"slots": 1})
    world.do(UpdateMetadef(
        metadef=uuid, called="slots", fields=("schema",), viewer=ADMIN,
        definition=Definition(schema={"type": "string"}),
    ))  # fmt: skip
    assert world.carried() == ((), {"slots": 1})
    with pytest.raises(InvalidArgument):
        world.update(set={"slots": 2})


def test_everyone_sees_what_the_table_of_kinds_says() -> None:
    state = UserData(id=UserDataId("x"), name="x", project=RED, version="1", sha256="", size=1)
    for kind, rule in OBJECTS.items():
        assert sees(ADMIN, kind, state)
        assert decorates(OPERATOR, kind, state)
        assert sees(MEMBER, kind, state) == (
            rule.sight in {Sight.EVERYONE, Sight.SHARED, Sight.PROJECT}
        )
        assert sees(STRANGER, kind, state) == (rule.sight is Sight.EVERYONE)
        assert decorates(MEMBER, kind, state) == rule.decorated_by_tenants
        assert not decorates(READER, kind, state)
        assert not decorates(STRANGER, kind, state)
    itself = replace(state, id=UserDataId("mary"))
    assert sees(MEMBER, "account", itself) and not sees(READER, "account", itself)


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=10,
)


def _doubled(value: Any) -> Any:
    """Return a value as it comes out of a Struct: all numbers doubles, keys in any order."""
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case list():
            return [_doubled(one) for one in value]
        case dict():
            return {key: _doubled(value[key]) for key in reversed(value)}
        case _:
            return value


@given(_PLAIN)
def test_a_value_survives_the_wire_and_equals_itself(value: Any) -> None:
    back = plain(_doubled(value), "value")
    assert canonical(back) == canonical(value)
    assert digest(back) == digest(value)


@given(_PLAIN, _PLAIN)
def test_values_that_differ_have_other_digests(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (canonical(one) == canonical(other))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_what_is_no_number_is_no_value(value: Any) -> None:
    with pytest.raises(MulliganError):
        plain(value, "value")


def test_true_is_not_one() -> None:
    world = World()
    world.define("any", Definition(schema={}))
    world.update(set={"any": 1})
    assert world.update(set={"any": True})
    assert world.carried()[1]["any"] is True
