"""The tree of projects: roles reach down, what is disabled is out, owners look after their own."""

from typing import Any, NamedTuple

import pytest
from grpclib import Status

from mulligan.model import new_id
from mulligan.proto import v1
from tests.services.conftest import SECRET, Tokens
from tests.services.edge import Edge, refusal

ME = ("iam.who_am_i", v1.WhoAmIRequest())
ABSENT = "018f0000-0000-7000-8000-000000000000"


class Tree(NamedTuple):
    """A project, one under it, and accounts: an owner of the upper, and one without any role."""

    top: v1.Project
    below: v1.Project
    owner: str
    owner_token: str
    newcomer: str
    newcomer_uuid: str


async def account(edge: Edge, admin: str) -> v1.Account:
    made = v1.CreateAccountRequest(name=f"p-{new_id()[-12:]}", secret=SECRET)
    answer: v1.Account = (await edge.call("iam.create_account", made, admin)).account
    return answer


async def project(edge: Edge, admin: str, parent: str = "") -> v1.Project:
    made = v1.CreateProjectRequest(name=f"p-{new_id()[-12:]}", parent=parent)
    answer: v1.Project = (await edge.call("iam.create_project", made, admin)).project
    return answer


async def bound(edge: Edge, token: str, account: str, role: str, project: str) -> Any:
    binding = v1.RoleBinding(role=role, project=project)
    return await edge.call(
        "iam.bind_role", v1.BindRoleRequest(account=account, binding=binding), token
    )


@pytest.fixture
async def tree(edge: Edge, tokens: Tokens) -> Tree:
    top = await project(edge, tokens.admin)
    below = await project(edge, tokens.admin, top.name)
    owner, newcomer = await account(edge, tokens.admin), await account(edge, tokens.admin)
    await bound(edge, tokens.admin, owner.name, "owner", top.name)
    token = await edge.token(owner.name, SECRET, top.name)
    return Tree(top, below, owner.name, token, newcomer.name, newcomer.uuid)


async def test_a_role_holds_in_the_projects_under_its_own(edge: Edge, tree: Tree) -> None:
    below = await edge.token(tree.owner, SECRET, tree.below.name)
    me = await edge.call(*ME, below)
    assert (me.project, list(me.roles)) == (tree.below.uuid, ["owner"])


async def test_a_role_does_not_reach_up(edge: Edge, tokens: Tokens, tree: Tree) -> None:
    await bound(edge, tokens.admin, tree.newcomer, "owner", tree.below.name)
    assert await edge.token(tree.newcomer, SECRET, tree.below.name)
    login = v1.LoginRequest(account=tree.newcomer, secret=SECRET, project=tree.top.name)
    assert "no role" in (await refusal(edge.call("iam.login", login))).message


async def test_a_disabled_project_disables_those_under_it(
    edge: Edge, tokens: Tokens, tree: Tree
) -> None:
    request = v1.LoginRequest(account=tree.owner, secret=SECRET, project=tree.below.name)
    session = await edge.call("iam.login", request)
    disable = v1.DisableProjectRequest(project=tree.top.name)
    assert (await edge.call("iam.disable_project", disable, tokens.admin)).project.disabled
    assert "project" in (await refusal(edge.call(*ME, session.access_token))).message
    refresh = v1.RefreshRequest(refresh_token=session.refresh_token)
    assert (await refusal(edge.call("iam.refresh", refresh))).status is Status.UNAUTHENTICATED
    assert "disabled" in (await refusal(edge.call("iam.login", request))).message
    await edge.call(
        "iam.enable_project", v1.EnableProjectRequest(project=tree.top.name), tokens.admin
    )
    await edge.call(*ME, session.access_token)


async def test_a_project_is_deleted_once_it_is_disabled_and_holds_nothing(
    edge: Edge, tokens: Tokens, tree: Tree
) -> None:
    data = v1.CreateUserDataRequest(name="d", content=b"#cloud-config")
    kept = await edge.call("control.create_user_data", data, tree.owner_token)

    async def delete(name: str) -> Any:
        return await edge.call(
            "iam.delete_project", v1.DeleteProjectRequest(project=name), tokens.admin
        )

    async def disable(name: str) -> None:
        await edge.call("iam.disable_project", v1.DisableProjectRequest(project=name), tokens.admin)

    assert "disable it first" in (await refusal(delete(tree.top.name))).message
    await disable(tree.top.name)
    assert "user data" in (await refusal(delete(tree.top.name))).message
    gone = v1.DeleteUserDataRequest(user_data=kept.user_data.uuid)
    await edge.call("control.delete_user_data", gone, tokens.admin)
    assert "projects under it" in (await refusal(delete(tree.top.name))).message
    await disable(tree.below.name)
    await delete(tree.below.name)
    await delete(tree.top.name)
    login = v1.LoginRequest(account=tree.owner, secret=SECRET, project=tree.top.name)
    assert "no role" in (await refusal(edge.call("iam.login", login))).message
    again = v1.CreateProjectRequest(name=tree.top.name)
    assert (await edge.call("iam.create_project", again, tokens.admin)).project.uuid


async def test_owners_bind_roles_by_uuid_in_their_project_and_below(
    edge: Edge, tokens: Tokens, tree: Tree
) -> None:
    for place in (tree.top, tree.below):
        answer = await bound(edge, tree.owner_token, tree.newcomer_uuid, "reader", place.name)
        assert place.uuid in [role.project for role in answer.account.roles]
    assert await edge.token(tree.newcomer, SECRET, tree.below.name)
    by_name = await refusal(bound(edge, tree.owner_token, tree.newcomer, "reader", tree.top.name))
    unknown = await refusal(bound(edge, tree.owner_token, "nobody", "reader", tree.top.name))
    assert by_name == unknown
    assert by_name.fields == ("account",)
    assert "whoami" in by_name.message
    system = await refusal(bound(edge, tree.owner_token, tree.newcomer_uuid, "admin", ""))
    assert system.fields == ("binding.project",)


async def test_owners_reach_no_project_but_theirs(edge: Edge, tokens: Tokens, tree: Tree) -> None:
    for place in ("red", "not-there"):
        refused = await refusal(bound(edge, tree.owner_token, tree.newcomer_uuid, "reader", place))
        assert refused.status is Status.NOT_FOUND
        get = v1.GetProjectRequest(project=place)
        seen = await refusal(edge.call("iam.get_project", get, tree.owner_token))
        assert seen.message == refused.message
    listed = await edge.call("iam.list_projects", v1.ListProjectsRequest(), tree.owner_token)
    assert {p.uuid for p in listed.projects} == {tree.top.uuid, tree.below.uuid}
    below = await edge.token(tree.owner, SECRET, tree.below.name)
    up = v1.GetProjectRequest(project=tree.top.name)
    assert (await refusal(edge.call("iam.get_project", up, below))).status is Status.NOT_FOUND


async def test_owners_see_who_holds_a_role_with_them_and_no_more_of_it(
    edge: Edge, tokens: Tokens, tree: Tree
) -> None:
    await bound(edge, tokens.admin, tree.newcomer, "reader", tree.below.name)
    done = await bound(edge, tokens.admin, tree.newcomer, "member", "red")
    asked = v1.ListAccountsRequest(freshness=v1.Freshness(at_least=done.position))
    listed = await edge.call("iam.list_accounts", asked, tree.owner_token)
    assert {a.name for a in listed.accounts} == {tree.owner, tree.newcomer}
    assert {r.project for a in listed.accounts for r in a.roles} == {tree.top.uuid, tree.below.uuid}
    rita = (await edge.call(*ME, tokens.red)).account
    texts = set()
    for uuid in (rita, ABSENT):
        get = v1.GetAccountRequest(account=uuid)
        refused = await refusal(edge.call("iam.get_account", get, tree.owner_token))
        assert refused.status is Status.NOT_FOUND
        texts.add(refused.message.replace(uuid, "UUID"))
    assert len(texts) == 1


async def test_projects_lie_sixteen_deep_at_most(edge: Edge, tokens: Tokens) -> None:
    deepest = await project(edge, tokens.admin)
    for _ in range(15):
        deepest = await project(edge, tokens.admin, deepest.uuid)
    refused = await refusal(project(edge, tokens.admin, deepest.uuid))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("parent",))


async def test_the_roles_are_listed_with_what_they_grant(edge: Edge, tokens: Tokens) -> None:
    listed = await edge.call("iam.list_roles", v1.ListRolesRequest(), tokens.reader)
    levels = {role.name: role.level for role in listed.roles}
    assert levels == {
        **dict.fromkeys(("admin", "operator", "auditor"), "system"),
        **dict.fromkeys(("owner", "member", "reader"), "project"),
    }
    assert all(role.permissions for role in listed.roles)
