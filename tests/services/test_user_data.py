"""User data: kept as it was given, shown to its project alone, and gone when it is deleted."""

import base64
import hashlib

import pytest
from grpclib import Status

from mulligan.proto import v1
from tests.services.conftest import Tokens
from tests.services.edge import Edge, refusal

ABSENT = "018f0000-0000-7000-8000-000000000000"
MARK = b"plum-walnut-seventeen"
CONTENT = b"#cloud-config\npassword: " + MARK + b"\n"


async def make(edge: Edge, token: str, name: str, content: bytes = CONTENT) -> v1.UserData:
    asked = v1.CreateUserDataRequest(name=name, content=content)
    made: v1.UserData = (await edge.call("control.create_user_data", asked, token)).user_data
    return made


async def get(edge: Edge, token: str, key: str) -> v1.UserData:
    asked = v1.GetUserDataRequest(user_data=key)
    found: v1.UserData = (await edge.call("control.get_user_data", asked, token)).user_data
    return found


async def names(edge: Edge, token: str) -> set[str]:
    """Return what is listed, once it has all that is in the log now."""
    head = (await edge.call("log.get_log_status", v1.GetLogStatusRequest(), token)).head
    asked = v1.ListUserDataRequest(freshness=v1.Freshness(at_least=head))
    listed = (await edge.call("control.list_user_data", asked, token)).user_data
    assert not any(one.content for one in listed), "lists show no content"
    return {one.name for one in listed}


async def test_user_data_is_returned_as_it_was_given(edge: Edge, tokens: Tokens) -> None:
    content = bytes(range(256)) + CONTENT
    made = await make(edge, tokens.red, "first", content)
    assert (made.size, made.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert made.content == b"", "only GetUserData shows it"
    for key in ("first", made.uuid):
        assert (await get(edge, tokens.red, key)).content == content
    assert "first" in await names(edge, tokens.red)


async def test_each_project_has_names_of_its_own(edge: Edge, tokens: Tokens) -> None:
    red = await make(edge, tokens.red, "web", b"red")
    blue = await make(edge, tokens.blue, "web", b"blue")
    assert (await get(edge, tokens.red, "web")).uuid == red.uuid
    assert (await get(edge, tokens.blue, "web")).uuid == blue.uuid
    again = v1.CreateUserDataRequest(name="web", content=b"red too")
    refused = await refusal(edge.call("control.create_user_data", again, tokens.red))
    assert refused.status is Status.ALREADY_EXISTS
    assert (await get(edge, tokens.red, "web")).content == b"red"


async def test_one_request_makes_user_data_once(edge: Edge, tokens: Tokens) -> None:
    asked = v1.CreateUserDataRequest(
        request_id="018f0000-0000-7000-8000-00000000da7a", name="repeated", content=CONTENT
    )
    first = await edge.call("control.create_user_data", asked, tokens.red)
    second = await edge.call("control.create_user_data", asked, tokens.red)
    assert first.user_data == second.user_data
    assert (await get(edge, tokens.red, "repeated")).content == CONTENT


@pytest.mark.parametrize("size", [1, 64 * 1024])
async def test_content_up_to_64_kib_is_kept(edge: Edge, tokens: Tokens, size: int) -> None:
    made = await make(edge, tokens.red, f"size-{size}", b"x" * size)
    assert len((await get(edge, tokens.red, made.uuid)).content) == size


@pytest.mark.parametrize("size", [0, 64 * 1024 + 1])
async def test_content_out_of_bounds_is_refused(edge: Edge, tokens: Tokens, size: int) -> None:
    asked = v1.CreateUserDataRequest(name=f"size-{size}", content=b"x" * size)
    refused = await refusal(edge.call("control.create_user_data", asked, tokens.red))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("content",))
    assert str(size) in refused.message


async def test_user_data_of_another_project_looks_as_if_it_were_not_there(
    edge: Edge, tokens: Tokens
) -> None:
    made = await make(edge, tokens.red, "private")
    for method, message in (
        ("get_user_data", v1.GetUserDataRequest),
        ("delete_user_data", v1.DeleteUserDataRequest),
    ):
        held = await refusal(
            edge.call(f"control.{method}", message(user_data=made.uuid), tokens.blue)
        )
        absent = await refusal(
            edge.call(f"control.{method}", message(user_data=ABSENT), tokens.blue)
        )
        assert held.status is Status.NOT_FOUND
        assert held.message == absent.message.replace(ABSENT, made.uuid)
        by_name = message(user_data="private")
        refused = await refusal(edge.call(f"control.{method}", by_name, tokens.blue))
        assert refused.status is Status.NOT_FOUND
    assert "private" not in await names(edge, tokens.blue)
    assert "private" in await names(edge, tokens.admin)
    assert (await get(edge, tokens.red, "private")).content == CONTENT


async def test_readers_see_no_user_data(edge: Edge, tokens: Tokens) -> None:
    for method, message in (
        ("create_user_data", v1.CreateUserDataRequest(name="mine", content=CONTENT)),
        ("get_user_data", v1.GetUserDataRequest(user_data="private")),
        ("list_user_data", v1.ListUserDataRequest()),
        ("delete_user_data", v1.DeleteUserDataRequest(user_data="private")),
    ):
        refused = await refusal(edge.call(f"control.{method}", message, tokens.reader))
        assert refused.status is Status.PERMISSION_DENIED


async def test_user_data_belongs_to_a_project(edge: Edge, tokens: Tokens) -> None:
    asked = v1.CreateUserDataRequest(name="nobodys", content=CONTENT)
    refused = await refusal(edge.call("control.create_user_data", asked, tokens.admin))
    assert refused.status is Status.FAILED_PRECONDITION
    assert "project" in refused.message


async def test_the_content_of_deleted_user_data_is_gone(edge: Edge, tokens: Tokens) -> None:
    made = await make(edge, tokens.red, "short-lived")
    gone = v1.DeleteUserDataRequest(user_data="short-lived")
    await edge.call("control.delete_user_data", gone, tokens.red)
    for key in (made.uuid, "short-lived"):
        asked = v1.GetUserDataRequest(user_data=key)
        refused = await refusal(edge.call("control.get_user_data", asked, tokens.red))
        assert refused.status is Status.NOT_FOUND
    assert "short-lived" not in await names(edge, tokens.red)
    again = await make(edge, tokens.red, "short-lived", b"another")
    assert again.uuid != made.uuid
    assert (await get(edge, tokens.red, "short-lived")).content == b"another"


async def test_the_log_holds_no_content(edge: Edge, tokens: Tokens) -> None:
    made = await make(edge, tokens.red, "logged")
    stub = v1.LogStub(edge.channel("log"))
    headers = {"authorization": f"Bearer {tokens.admin}"}
    texts = [
        event.data
        async for record in stub.read_log(v1.ReadLogRequest(), metadata=headers, timeout=20)
        for event in record.events
    ]
    assert any(made.sha256 in text for text in texts), "the whole log was read"
    hidden = [MARK.decode(), *_encoded(CONTENT)]
    assert not [text for text in texts if any(mark in text for mark in hidden)]


def _encoded(content: bytes) -> list[str]:
    """Return stretches of how the content may look as base64, wherever it begins."""
    return [base64.b64encode(content[skip:])[4:20].decode() for skip in range(3)]
