import re

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from mulligan.errors import AlreadyExists, InvalidArgument
from mulligan.events.name import NameReleased
from mulligan.handlers import names
from mulligan.handlers.group import CreateGroup, DeleteGroup
from mulligan.model import GroupId, ProjectId, stream_id

from .given import MEMORY, Given, claim_of, types


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("a", "a"),
        ("Rack 7", "rack-7"),
        ("rack_7", "rack-7"),
        ("a  _ b", "a-b"),
        ("a.b-c", "a.b-c"),
        ("9" * 63, "9" * 63),
    ],
)
def test_a_slug_is_the_clean_form_of_a_name(name: str, slug: str) -> None:
    assert names.slug_of(name) == slug


@pytest.mark.parametrize("name", ["", " a", "a ", "-a", "a/b", "ä", "a\n", "a" * 64, "a\0b"])
def test_what_is_no_name_is_refused_with_its_field(name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        names.slug_of(name, "group.name")
    assert refused.value.violations[0].field == "group.name"


@drawn(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,61}[A-Za-z0-9])?", fullmatch=True))
def test_a_slug_is_clean_in_any_uri_and_its_own_slug(name: str) -> None:
    slug = names.slug_of(name)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", slug)
    assert names.slug_of(slug) == slug
    assert names.name_stream("image", slug) == names.name_stream("image", name)


@drawn(st.text(max_size=70))
def test_what_has_a_slug_is_a_name_and_nothing_else_is(text: str) -> None:
    try:
        slug = names.slug_of(text)
    except InvalidArgument:
        return
    assert text.isascii() and len(slug) <= 63


def test_a_uuid_is_no_name_for_it_would_be_taken_for_one() -> None:
    for name in ("018f0000-0000-7000-8000-000000000001", "018F0000-0000-7000-8000-00000000000A"):
        with pytest.raises(InvalidArgument, match="is a UUID"):
            Given().do(CreateGroup(group=GroupId("g1"), name=name))


def test_two_names_with_one_slug_are_one_name() -> None:
    given = Given()
    given.do(CreateGroup(group=GroupId("g1"), name="Rack 7"))
    with pytest.raises(AlreadyExists, match="Rack_7"):
        given.do(CreateGroup(group=GroupId("g2"), name="Rack_7"))


def test_a_freed_name_may_be_given_again() -> None:
    given = Given()
    given.do(CreateGroup(group=GroupId("g1"), name="rack"))
    assert types(given.do(DeleteGroup(group=GroupId("g1")))) == ["group.deleted", "name.released"]
    given.do(CreateGroup(group=GroupId("g2"), name="rack"))
    holder: names.NameState = given.states[names.name_stream("group", "rack")]
    assert holder.object == "g2"


def test_the_same_name_is_free_in_another_project_and_for_another_kind() -> None:
    given = Given()
    given.offers("p", {"memory": 10})
    given.do(claim_of({"p": {MEMORY: 1}}, claim="c1", name="p"))
    streams = {
        names.name_stream("claim", "p", scope) for scope in (ProjectId("web"), ProjectId("db"))
    }
    assert len(streams) == 2
    assert names.name_stream("provider", "p") not in streams


def test_only_the_holder_frees_a_name() -> None:
    stream = names.name_stream("group", "rack")
    held = names.NameState(kind="group", scope="region", name="rack", slug="rack", object="g1")
    assert names.free({stream: held}, "group", "rack", "g2") == []
    assert names.free({}, "group", "rack", "g1") == []
    (change,) = names.free({stream: held}, "group", "rack", "g1")
    assert change.event == NameReleased(object="g1")


def test_an_id_is_used_once() -> None:
    given = Given()
    given.do(CreateGroup(group=GroupId("g1"), name="rack"))
    with pytest.raises(AlreadyExists):
        given.do(CreateGroup(group=GroupId("g1"), name="rack"))
    given.do(DeleteGroup(group=GroupId("g1")))
    with pytest.raises(AlreadyExists):
        given.do(CreateGroup(group=GroupId("g1"), name="other"))
    assert given.states[stream_id("group", "g1")].deleted
