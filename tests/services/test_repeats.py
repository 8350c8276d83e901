"""A request that is sent again gets its first answer, though what it names is gone by then."""

from collections.abc import Callable
from typing import Any

import pytest
from grpclib import Status

from mulligan.model import new_id
from mulligan.proto import v1
from tests.services.conftest import Tokens
from tests.services.edge import Edge, refusal


def group(name: str, **more: Any) -> tuple[str, Any]:
    return "resource.delete_group", v1.DeleteGroupRequest(group=name, **more)


def provider(name: str, **more: Any) -> tuple[str, Any]:
    return "resource.delete_provider", v1.DeleteProviderRequest(provider=name, **more)


MAKE: dict[Callable[..., tuple[str, Any]], tuple[str, Callable[[str], Any]]] = {
    group: ("resource.create_group", lambda name: v1.CreateGroupRequest(name=name)),
    provider: (
        "resource.create_provider",
        lambda name: v1.CreateProviderRequest(name=name, type="compute"),
    ),
}


@pytest.mark.parametrize("kind", MAKE)
async def test_a_deletion_by_name_that_is_sent_again_gets_its_first_answer(
    edge: Edge, tokens: Tokens, kind: Callable[..., tuple[str, Any]]
) -> None:
    name, request_id = f"again-{new_id()[-12:]}", new_id()
    make, message = MAKE[kind]
    await edge.call(make, message(name), tokens.admin)
    first = await edge.call(*kind(name, request_id=request_id), tokens.admin)
    assert await edge.call(*kind(name, request_id=request_id), tokens.admin) == first
    await edge.call(make, message(name), tokens.admin)  # the name is another's now
    assert await edge.call(*kind(name, request_id=request_id), tokens.admin) == first
    other = await refusal(edge.call(*kind("elsewhere", request_id=request_id), tokens.admin))
    assert other.status is Status.ALREADY_EXISTS
    await edge.call(*kind(name), tokens.admin)
    gone = await refusal(edge.call(*kind(name, request_id=new_id()), tokens.admin))
    assert gone.status is Status.NOT_FOUND
    assert repr(name) in gone.message
