"""Metadefs, tags and attributes through the edge: kept, shown to whom they are for, and found."""

from typing import Any

import pytest
from grpclib import Status

from mulligan.model import new_id
from mulligan.proto import v1
from mulligan.services.structs import struct_of, values_of
from tests.services.conftest import SECRET, Tokens
from tests.services.edge import Edge, Refusal, refusal

ABSENT = "018f0000-0000-7000-8000-000000000000"


async def define(
    edge: Edge, token: str, name: str, schema: dict[str, Any] | None = None, **more: Any
) -> v1.Metadef:
    asked = v1.CreateMetadefRequest(name=name, schema=struct_of(schema or {}), **more)
    made: v1.Metadef = (await edge.call("meta.create_metadef", asked, token)).metadef
    return made


async def update(edge: Edge, token: str, kind: str, key: str, **wish: Any) -> v1.Metadata:
    if "set" in wish:
        wish["set_attributes"] = struct_of(wish.pop("set"))
    asked = v1.UpdateMetadataRequest(kind=kind, object=key, **wish)
    found: v1.Metadata = (await edge.call("meta.update_metadata", asked, token)).metadata
    return found


async def get(edge: Edge, token: str, kind: str, key: str) -> v1.Metadata:
    asked = v1.GetMetadataRequest(kind=kind, object=key)
    found: v1.Metadata = (await edge.call("meta.get_metadata", asked, token)).metadata
    return found


async def find(edge: Edge, token: str, admin: str, size: int = 100, **terms: Any) -> list[str]:
    """Return the UUIDs of all pages, once what is in the log now can be found."""
    head = (await edge.call("log.get_log_status", v1.GetLogStatusRequest(), admin)).head
    terms["attributes"] = struct_of(terms.get("attributes", {}))
    found: list[str] = []
    page = v1.Page(size=size)
    while True:
        asked = v1.FindObjectsRequest(page=page, freshness=v1.Freshness(at_least=head), **terms)
        answer = await edge.call("meta.find_objects", asked, token)
        assert len(answer.objects) <= size
        found += [one.uuid for one in answer.objects]
        if not answer.next_page_token:
            return found
        page = v1.Page(size=size, token=answer.next_page_token)


async def keep(edge: Edge, token: str, name: str) -> str:
    asked = v1.CreateUserDataRequest(name=name, content=b"x")
    return str((await edge.call("control.create_user_data", asked, token)).user_data.uuid)


async def image(edge: Edge, admin: str, name: str) -> str:
    asked = v1.CreateImageRequest(name=name, url="https://i.example/x.iso", sha256="a" * 64)
    return str((await edge.call("control.create_image", asked, admin)).image.uuid)


@pytest.fixture(scope="module")
async def owner(edge: Edge, tokens: Tokens) -> str:
    made = v1.CreateAccountRequest(name="olivia", secret=SECRET)
    await edge.call("iam.create_account", made, tokens.admin)
    binding = v1.RoleBinding(role="owner", project="red")
    bind = v1.BindRoleRequest(account="olivia", binding=binding)
    await edge.call("iam.bind_role", bind, tokens.admin)
    return await edge.token("olivia", SECRET, "red")


async def test_what_is_set_is_read_back_as_it_was(edge: Edge, tokens: Tokens) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    made = await define(edge, tokens.admin, "layout", schema, description="where it stands")
    assert values_of(made.schema, "schema") == schema
    uuid = await keep(edge, tokens.red, "decorated")
    value = {"n": 3, "x": [1.5, None, True, "é", {"big": 2**53}]}
    await update(edge, tokens.red, "userdata", "decorated", add_tags=["b", "a"], set={
        "layout": value
    })  # fmt: skip
    found = await get(edge, tokens.reader, "userdata", uuid)
    assert (found.uuid, found.tags) == (uuid, ["a", "b"])
    assert values_of(found.attributes, "attributes") == {"layout": value}
    renamed = await get(edge, tokens.red, "userdata", "decorated")
    assert renamed == found


async def test_an_etag_that_is_old_changes_nothing(edge: Edge, tokens: Tokens) -> None:
    await keep(edge, tokens.red, "etagged")
    first = await update(edge, tokens.red, "userdata", "etagged", add_tags=["a"])
    await update(edge, tokens.red, "userdata", "etagged", add_tags=["b"], etag=first.etag)
    stale = update(edge, tokens.red, "userdata", "etagged", add_tags=["c"], etag=first.etag)
    assert (await refusal(stale)).status is Status.ABORTED
    assert (await get(edge, tokens.red, "userdata", "etagged")).tags == ["a", "b"]


async def test_anothers_object_and_none_are_refused_alike(edge: Edge, tokens: Tokens) -> None:
    uuid = await keep(edge, tokens.red, "secretive")
    made = await update(edge, tokens.red, "userdata", uuid, add_tags=["plain sight"])

    def told(refused: Refusal, key: str) -> tuple[Status, str]:
        return refused.status, refused.message.replace(key, "KEY")

    for act in (get, update):
        wish = {"add_tags": ["mine"]} if act is update else {}
        answers = {
            told(await refusal(act(edge, tokens.blue, "userdata", key, **wish)), key)
            for key in (uuid, ABSENT, "secretive", "nothing")
        }
        assert len(answers) == 1
    fitting = update(edge, tokens.blue, "userdata", uuid, add_tags=["mine"], etag=made.etag)
    assert (await refusal(fitting)).status is Status.NOT_FOUND
    stale = update(edge, tokens.blue, "userdata", ABSENT, add_tags=["mine"], etag=made.etag)
    assert (await refusal(stale)).status is Status.NOT_FOUND
    assert await find(edge, tokens.blue, tokens.admin, tags=["plain sight"]) == []
    assert await find(edge, tokens.red, tokens.admin, tags=["plain sight"]) == [uuid]


async def test_objects_are_found_by_all_that_is_asked_page_by_page(
    edge: Edge, tokens: Tokens
) -> None:
    await define(edge, tokens.admin, "tier")
    made = [await keep(edge, tokens.red, f"many-{n}") for n in range(5)]
    made.append(await image(edge, tokens.admin, "found-by-all"))
    for n, uuid in enumerate(made):
        who, kind = (tokens.red, "userdata") if n < 5 else (tokens.admin, "image")
        tags = ["findable", *(["even"] if n % 2 == 0 else [])]
        await update(edge, who, kind, uuid, add_tags=tags, set={"tier": n // 2})

    async def found(size: int = 100, **terms: Any) -> list[str]:
        return await find(edge, tokens.red, tokens.admin, size, **terms)

    everything = await found(tags=["findable"])
    assert set(everything) == set(made)
    assert await found(2, tags=["findable"]) == everything
    assert await found(kind="userdata", tags=["findable", "even"]) == made[0:5:2]
    assert await found(attributes={"tier": 1}) == made[2:4]
    assert await found(attributes={"tier": 1}, tags=["even"]) == [made[2]]
    assert await found(attributes={"tier": "1"}) == []
    assert await found(kind="image", tags=["findable"]) == made[5:]
    gone = v1.DeleteUserDataRequest(user_data=made[0])
    await edge.call("control.delete_user_data", gone, tokens.red)
    assert await found(kind="userdata", tags=["findable"]) == made[1:5]
    refused = await refusal(get(edge, tokens.red, "userdata", made[0]))
    assert refused.status is Status.NOT_FOUND


async def test_a_value_that_one_may_not_read_is_neither_shown_nor_searched(
    edge: Edge, tokens: Tokens, owner: str
) -> None:
    await define(edge, owner, "budget", read_roles=["owner"], write_roles=["owner"])
    uuid = await keep(edge, tokens.red, "priced")
    await update(edge, owner, "userdata", uuid, set={"budget": 10})
    assert (await get(edge, owner, "userdata", uuid)).attributes == struct_of({"budget": 10})
    for token in (tokens.red, tokens.reader, tokens.admin):
        assert (await get(edge, token, "userdata", uuid)).attributes == struct_of({})
    assert await find(edge, owner, tokens.admin, attributes={"budget": 10}) == [uuid]
    search = find(edge, tokens.red, tokens.admin, attributes={"budget": 10})
    assert (await refusal(search)).status is Status.PERMISSION_DENIED
    assert uuid not in await find(edge, tokens.red, tokens.admin, kind="userdata")
    write = update(edge, tokens.red, "userdata", uuid, set={"budget": 11})
    assert (await refusal(write)).status is Status.PERMISSION_DENIED


async def test_definitions_of_a_project_are_unknown_to_others(
    edge: Edge, tokens: Tokens, owner: str
) -> None:
    made = await define(edge, owner, "squad", {"enum": ["a", "b"]})
    assert made.project
    answers = set()
    for key in ("squad", made.uuid, "no-such", ABSENT):
        asked = v1.GetMetadefRequest(metadef=key)
        refused = await refusal(edge.call("meta.get_metadef", asked, tokens.blue))
        answers.add((refused.status, refused.message.replace(key, "KEY")))
    assert len(answers) == 1
    head = (await edge.call("log.get_log_status", v1.GetLogStatusRequest(), tokens.admin)).head
    listing = v1.ListMetadefsRequest(freshness=v1.Freshness(at_least=head))
    for token, known in ((tokens.blue, False), (tokens.reader, True), (tokens.admin, True)):
        listed = (await edge.call("meta.list_metadefs", listing, token)).metadefs
        assert (made.uuid in {one.uuid for one in listed}) == known


async def test_a_definition_is_changed_by_mask_and_etag(edge: Edge, tokens: Tokens) -> None:
    made = await define(edge, tokens.admin, "changing", {"type": "string"}, kinds=["image"])

    async def change(**wish: Any) -> v1.Metadef:
        asked = v1.UpdateMetadefRequest(metadef="changing", **wish)
        return (await edge.call("meta.update_metadef", asked, tokens.admin)).metadef  # type: ignore[no-any-return]

    changed = await change(update_mask=["description"], description="new", etag=made.etag)
    assert (changed.description, changed.kinds) == ("new", ["image"])
    stale = await refusal(change(update_mask=["kinds"], etag=made.etag))
    assert stale.status is Status.ABORTED
    for wish, field in (
        ({}, "update_mask"),
        ({"update_mask": ["name"]}, "update_mask"),
        ({"update_mask": ["schema"], "schema": struct_of({"type": 1})}, "schema"),
    ):
        assert (await refusal(change(**wish))).fields == (field,)
    gone = v1.DeleteMetadefRequest(metadef="changing")
    await edge.call("meta.delete_metadef", gone, tokens.admin)
    await define(edge, tokens.admin, "changing")


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"kind": "starship"}, "kind"),
        ({"object": ""}, "object"),
        ({"object": "no/name"}, "object"),
        ({"add_tags": ["ok", " bad"]}, "add_tags[1]"),
        ({"remove_attributes": ["/"]}, "remove_attributes[/]"),
        ({"set_attributes": struct_of({"a/b": 1})}, "set_attributes[a/b]"),
        ({"etag": "x"}, "etag"),
    ],
)
async def test_what_is_malformed_is_refused_with_its_field(
    edge: Edge, tokens: Tokens, wish: dict[str, Any], field: str
) -> None:
    given = {"kind": "image", "object": ABSENT, **wish}
    call = edge.call("meta.update_metadata", v1.UpdateMetadataRequest(**given), tokens.admin)
    refused = await refusal(call)
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, (field,))


async def test_one_request_is_carried_out_once(edge: Edge, tokens: Tokens) -> None:
    await keep(edge, tokens.red, "once")
    wish = {"request_id": new_id(), "add_tags": ["a"]}
    first = await update(edge, tokens.red, "userdata", "once", **wish)
    await update(edge, tokens.red, "userdata", "once", remove_tags=["a"])
    again = await update(edge, tokens.red, "userdata", "once", **wish)
    assert (first.tags, again.tags) == (["a"], [])


async def test_a_tenant_learns_names_of_itself_and_its_project_and_no_others(
    edge: Edge, tokens: Tokens
) -> None:
    me = await edge.call("iam.who_am_i", v1.WhoAmIRequest(), tokens.red)
    other = await edge.call("iam.who_am_i", v1.WhoAmIRequest(), tokens.blue)
    shared = await image(edge, tokens.admin, "Shared Image_1")
    uuids = [me.account, me.project, other.account, other.project, shared, ABSENT]
    head = (await edge.call("log.get_log_status", v1.GetLogStatusRequest(), tokens.admin)).head
    asked = v1.DescribeRequest(uuids=uuids, freshness=v1.Freshness(at_least=head))
    names = {n.uuid: n for n in (await edge.call("meta.describe", asked, tokens.red)).names}
    assert {uuid: n.name for uuid, n in names.items()} == {
        me.account: "rita", me.project: "red", shared: "Shared Image_1"
    }  # fmt: skip
    slug = names[shared].slug
    by_slug = v1.ResolveRequest(kind="image", names=[slug])
    assert (await edge.call("meta.resolve", by_slug, tokens.red)).names == [names[shared]]
    for kind, name, found in (
        ("project", "red", 1),
        ("project", "blue", 0),
        ("account", "bert", 0),
    ):
        asked_name = v1.ResolveRequest(kind=kind, names=[name])
        answer = await edge.call("meta.resolve", asked_name, tokens.red)
        assert len(answer.names) == found
