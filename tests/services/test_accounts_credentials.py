"""Application credentials: accounts that act for another one, with no more than it has."""

from datetime import timedelta
from typing import Any

import pytest
from grpclib import Status

from mulligan.model import new_id, utc_now
from mulligan.proto import v1
from tests.services.conftest import SECRET, Tokens
from tests.services.edge import Edge, refusal

ME = ("iam.who_am_i", v1.WhoAmIRequest())
SECRET_OF_ONE = "sixteen-characters-or-more"


@pytest.fixture(scope="module")
async def member(edge: Edge, tokens: Tokens) -> str:
    """The name of a member of the project red, for this module alone."""
    name = f"c-{new_id()[-12:]}"
    await edge.call(
        "iam.create_account", v1.CreateAccountRequest(name=name, secret=SECRET), tokens.admin
    )
    for role in ("member", "reader"):
        binding = v1.RoleBinding(role=role, project="red")
        await edge.call(
            "iam.bind_role", v1.BindRoleRequest(account=name, binding=binding), tokens.admin
        )
    return name


@pytest.fixture
async def token(edge: Edge, member: str) -> str:
    return await edge.token(member, SECRET, "red")


async def created(edge: Edge, token: str, name: str, **fields: Any) -> v1.Account:
    request = v1.CreateApplicationCredentialRequest(name=name, secret=SECRET_OF_ONE, **fields)
    answer = await edge.call("iam.create_application_credential", request, token)
    account: v1.Account = answer.account
    return account


async def login(edge: Edge, account: str) -> Any:
    return await edge.call("iam.login", v1.LoginRequest(account=account, secret=SECRET_OF_ONE))


async def test_it_logs_in_to_its_project_by_uuid_or_by_its_owner_s_name(
    edge: Edge, token: str, member: str
) -> None:
    one = await created(edge, token, "ci", roles=["reader"])
    assert (one.kind, [r.role for r in one.roles]) == ("application", ["reader"])
    session = await login(edge, one.uuid)
    for same in (session, await login(edge, f"{member}/ci")):
        assert (same.account, list(same.roles)) == (one.uuid, ["reader"])
        assert same.project == one.roles[0].project
    claims = v1.ListClaimsRequest()
    await edge.call("resource.list_claims", claims, session.access_token)
    refused = await refusal(
        edge.call("resource.make_claim", v1.MakeClaimRequest(), session.access_token)
    )
    assert refused.status is Status.PERMISSION_DENIED


async def test_its_name_is_unique_among_its_owner_s(
    edge: Edge, tokens: Tokens, token: str, member: str
) -> None:
    await created(edge, token, "twice")
    again = await refusal(created(edge, token, "twice"))
    assert again.status is Status.ALREADY_EXISTS
    await created(edge, tokens.blue, "twice")
    head = (await edge.call("log.get_log_status", v1.GetLogStatusRequest(), token)).head
    asked = v1.ListApplicationCredentialsRequest(freshness=v1.Freshness(at_least=head))
    listed = await edge.call("iam.list_application_credentials", asked, token)
    assert "twice" in [one.name for one in listed.accounts]
    delete = v1.DeleteApplicationCredentialRequest(credential="twice")
    await edge.call("iam.delete_application_credential", delete, token)
    assert (await refusal(login(edge, f"{member}/twice"))).status is Status.UNAUTHENTICATED
    await created(edge, token, "twice")


async def test_it_has_no_role_that_its_owner_s_token_has_not(edge: Edge, token: str) -> None:
    refused = await refusal(created(edge, token, "more", roles=["owner"]))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("roles",))
    past = await refusal(created(edge, token, "past", expires_at=utc_now() - timedelta(hours=1)))
    assert past.fields == ("expires_at",)
    short = v1.CreateApplicationCredentialRequest(name="short", secret="too short")
    refused = await refusal(edge.call("iam.create_application_credential", short, token))
    assert refused.fields == ("secret",)


async def test_it_loses_what_its_owner_loses(edge: Edge, tokens: Tokens, member: str) -> None:
    token = await edge.token(member, SECRET, "red")
    one = await created(edge, token, "loser")
    session = await login(edge, one.uuid)
    binding = v1.RoleBinding(role="member", project="red")
    bind = v1.BindRoleRequest(account=member, binding=binding)
    unbind = v1.UnbindRoleRequest(account=member, binding=binding)
    await edge.call("iam.unbind_role", unbind, tokens.admin)
    left = await edge.call(*ME, session.access_token)
    assert list(left.roles) == ["reader"]
    await edge.call("iam.bind_role", bind, tokens.admin)
    await edge.call("iam.disable_account", v1.DisableAccountRequest(account=member), tokens.admin)
    refused = await refusal(edge.call(*ME, session.access_token))
    assert refused.status is Status.UNAUTHENTICATED
    assert "acts for" in (await refusal(login(edge, one.uuid))).message
    await edge.call("iam.enable_account", v1.EnableAccountRequest(account=member), tokens.admin)
    await edge.call(*ME, (await login(edge, one.uuid)).access_token)


async def test_it_cannot_give_access_to_anybody(edge: Edge, tokens: Tokens) -> None:
    admin = await edge.call(*ME, tokens.admin)
    one = await created(edge, tokens.admin, f"robot-{new_id()[-12:]}")
    acting = (await login(edge, one.uuid)).access_token
    binding = v1.RoleBinding(role="reader", project="red")
    for method, message in {
        "iam.create_application_credential": v1.CreateApplicationCredentialRequest(
            name="x", secret=SECRET_OF_ONE
        ),
        "iam.set_secret": v1.SetSecretRequest(account="rita", secret=SECRET),
        "iam.change_secret": v1.ChangeSecretRequest(old_secret=SECRET_OF_ONE, new_secret=SECRET),
        "iam.bind_role": v1.BindRoleRequest(account="rita", binding=binding),
        "iam.unbind_role": v1.UnbindRoleRequest(account="rita", binding=binding),
        "iam.add_certificate": v1.AddCertificateRequest(account="rita", pem="x"),
    }.items():
        refused = await refusal(edge.call(method, message, acting))
        assert refused.status is Status.PERMISSION_DENIED, method
    gone = v1.DeleteAccountRequest(account=admin.account)
    assert "yourself" in (await refusal(edge.call("iam.delete_account", gone, acting))).message
    await edge.call("iam.delete_account", v1.DeleteAccountRequest(account=one.uuid), tokens.admin)
    assert (await refusal(edge.call(*ME, acting))).status is Status.UNAUTHENTICATED


async def test_its_roles_and_kind_are_not_given_by_an_administrator(
    edge: Edge, tokens: Tokens, token: str
) -> None:
    of_kind = v1.CreateAccountRequest(name="x", kind="application", secret=SECRET)
    refused = await refusal(edge.call("iam.create_account", of_kind, tokens.admin))
    assert refused.fields == ("kind",)
    one = await created(edge, token, "fixed")
    binding = v1.RoleBinding(role="admin")
    bind = v1.BindRoleRequest(account=one.uuid, binding=binding)
    refused = await refusal(edge.call("iam.bind_role", bind, tokens.admin))
    assert refused.status is Status.FAILED_PRECONDITION


async def test_those_of_others_are_not_found(edge: Edge, tokens: Tokens, token: str) -> None:
    one = await created(edge, token, "mine")
    absent = new_id()
    texts = set()
    for uuid in (one.uuid, absent):
        delete = v1.DeleteApplicationCredentialRequest(credential=uuid)
        refused = await refusal(edge.call("iam.delete_application_credential", delete, tokens.blue))
        assert refused.status is Status.NOT_FOUND
        texts.add(refused.message.replace(uuid, "UUID"))
    assert len(texts) == 1


async def test_they_go_with_their_owner(edge: Edge, tokens: Tokens) -> None:
    name = f"gone-{new_id()[-12:]}"
    made = v1.CreateAccountRequest(name=name, secret=SECRET)
    await edge.call("iam.create_account", made, tokens.admin)
    binding = v1.RoleBinding(role="auditor")
    await edge.call(
        "iam.bind_role", v1.BindRoleRequest(account=name, binding=binding), tokens.admin
    )
    one = await created(edge, await edge.token(name, SECRET), "ci")
    session = await login(edge, one.uuid)
    await edge.call("iam.delete_account", v1.DeleteAccountRequest(account=name), tokens.admin)
    assert (await refusal(edge.call(*ME, session.access_token))).status is Status.UNAUTHENTICATED
    get = v1.GetAccountRequest(account=one.uuid)
    assert (await refusal(edge.call("iam.get_account", get, tokens.admin))).status is (
        Status.NOT_FOUND
    )
