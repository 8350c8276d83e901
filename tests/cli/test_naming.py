"""People read names; programs, and who has no name to read, get UUIDs."""

from typing import Any

import pytest

from mulligan.cli.naming import name_fields
from mulligan.cli.output import Format, Output
from mulligan.cli.verbs import Common, Session
from mulligan.errors import Unavailable
from mulligan.proto import v1

RED, SUB, GONE = (f"018f0000-0000-7000-8000-{n:012}" for n in range(3))


class FakeNames:
    """Knows one name, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.error: Exception | None = None

    async def describe(self, uuids: list[str]) -> dict[str, v1.Name]:
        self.asked.append(uuids)
        if self.error is not None:
            raise self.error
        return {RED: v1.Name(name="red", uuid=RED)} if RED in uuids else {}


class FakeClient:
    def __init__(self) -> None:
        self.names = FakeNames()


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


def session(client: Any, form: Format) -> Session:
    made = Session(Common(), Output(form))
    made._client = client
    return made


def account() -> v1.Account:
    roles = [v1.RoleBinding(role="member", project=p) for p in (RED, GONE, "", "by-name")]
    return v1.Account(uuid=SUB, roles=roles)


async def shown(client: FakeClient, form: Format = Format.TABLE) -> list[str]:
    one = account()
    await name_fields(session(client, form), [one, v1.Account()], "roles.project")
    return [role.project for role in one.roles]


async def test_a_table_has_names_where_there_are_any_and_asks_once(client: FakeClient) -> None:
    assert await shown(client) == ["red", GONE, "", "by-name"]
    assert client.names.asked == [[RED, GONE]]


async def test_a_wide_table_has_both(client: FakeClient) -> None:
    assert (await shown(client, Format.WIDE))[0] == f"red ({RED})"


@pytest.mark.parametrize("form", [Format.JSON, Format.YAML, Format.NAME])
async def test_programs_get_uuids_and_nobody_is_asked(client: FakeClient, form: Format) -> None:
    assert await shown(client, form) == [RED, GONE, "", "by-name"]
    assert client.names.asked == []


async def test_uuids_do_when_names_cannot_be_had(client: FakeClient) -> None:
    client.names.error = Unavailable("mulligan-meta is away")
    assert await shown(client) == [RED, GONE, "", "by-name"]


async def test_lists_and_parts_that_are_not_there_are_no_trouble(client: FakeClient) -> None:
    group = v1.Group(members=[RED, GONE])
    machine = v1.Machine()
    await name_fields(session(client, Format.TABLE), [group], "members")
    await name_fields(session(client, Format.TABLE), [machine, None], "bmc.credential", "claim")
    assert group.members == ["red", GONE]


async def test_uuids_within_a_text_are_named_as_well(client: FakeClient) -> None:
    cause = v1.Cause(actor="service:resource", detail=f"held by claim {RED}, not by {GONE}")
    await name_fields(session(client, Format.TABLE), [cause], "actor", "detail")
    assert (cause.actor, cause.detail) == (
        "service:resource", f"held by claim red, not by {GONE}"
    )  # fmt: skip
    wide = v1.Cause(detail=f"held by claim {RED}")
    await name_fields(session(client, Format.WIDE), [wide], "detail")
    assert wide.detail == f"held by claim red ({RED})"
