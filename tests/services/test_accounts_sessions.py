"""Sessions: how they begin, by secret or certificate, and all that ends them."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from grpclib import Status
from grpclib.client import Channel
from msgspec.structs import replace

from mulligan.client.client import Client
from mulligan.model import new_id
from mulligan.proto import v1
from mulligan.tls import KeyPair, TlsFiles, client_context, issue, make_ca, read_pair, write_pair
from tests.e2e.region import RunningRegion
from tests.services.conftest import SECRET, Tokens
from tests.services.edge import Edge, refusal

ME = ("iam.who_am_i", v1.WhoAmIRequest())


async def made(edge: Edge, admin: str, role: str = "auditor") -> str:
    """Make an account that holds a system role; return its name."""
    name = f"s-{new_id()[-12:]}"
    await edge.call("iam.create_account", v1.CreateAccountRequest(name=name, secret=SECRET), admin)
    binding = v1.RoleBinding(role=role)
    await edge.call("iam.bind_role", v1.BindRoleRequest(account=name, binding=binding), admin)
    return name


async def login(edge: Edge, account: str, secret: str = SECRET, project: str = "") -> Any:
    request = v1.LoginRequest(account=account, secret=secret, project=project)
    return await edge.call("iam.login", request)


async def refreshed(edge: Edge, tokens: Any) -> Any:
    return await edge.call("iam.refresh", v1.RefreshRequest(refresh_token=tokens.refresh_token))


def claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))


async def is_over(edge: Edge, tokens: Any) -> str:
    """Assert that neither token of a session is honoured; return what is said of the first."""
    refused = await refusal(edge.call(*ME, tokens.access_token))
    assert refused.status is Status.UNAUTHENTICATED
    assert (await refusal(refreshed(edge, tokens))).status is Status.UNAUTHENTICATED
    return refused.message


async def goes_on(edge: Edge, tokens: Any) -> None:
    await edge.call(*ME, tokens.access_token)
    await refreshed(edge, tokens)


async def test_a_session_is_one_however_often_it_is_refreshed(edge: Edge, tokens: Tokens) -> None:
    first = await login(edge, await made(edge, tokens.admin))
    second = await refreshed(edge, await refreshed(edge, first))
    begun, now = claims(first.access_token), claims(second.access_token)
    assert begun["cred"].startswith("secret:")
    for claim in ("sid", "cred", "auth_time"):
        assert begun[claim] == now[claim]
    ends = claims(first.refresh_token)["exp"]
    assert claims(second.refresh_token)["exp"] == ends
    assert ends - begun["auth_time"] <= timedelta(hours=12).total_seconds()


async def test_logging_out_ends_this_session_and_no_other(edge: Edge, tokens: Tokens) -> None:
    name = await made(edge, tokens.admin)
    ended, other = await login(edge, name), await login(edge, name)
    await edge.call("iam.logout", v1.LogoutRequest(), ended.access_token)
    assert "session has ended" in await is_over(edge, ended)
    await goes_on(edge, other)
    await edge.call("iam.logout", v1.LogoutRequest(everywhere=True), other.access_token)
    await is_over(edge, other)
    await goes_on(edge, await login(edge, name))


async def test_revoking_ends_what_had_begun_and_not_what_begins_in_the_same_second(
    edge: Edge, tokens: Tokens
) -> None:
    name = await made(edge, tokens.admin)
    before = [await login(edge, name) for _ in range(2)]
    renewed = await refreshed(edge, before[0])
    await edge.call("iam.revoke_tokens", v1.RevokeTokensRequest(account=name), tokens.admin)
    after = await login(edge, name)
    for session in (*before, renewed):
        await is_over(edge, session)
    await goes_on(edge, after)


async def test_one_s_own_secret_is_changed_by_who_knows_the_old_one(
    edge: Edge, tokens: Tokens
) -> None:
    name = await made(edge, tokens.admin)
    session = await login(edge, name)
    wrong = v1.ChangeSecretRequest(old_secret="not the secret", new_secret="another-secret")
    refused = await refusal(edge.call("iam.change_secret", wrong, session.access_token))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("old_secret",))
    change = v1.ChangeSecretRequest(old_secret=SECRET, new_secret="another-secret")
    await edge.call("iam.change_secret", change, session.access_token)
    assert "no longer valid" in await is_over(edge, session)
    assert (await refusal(login(edge, name))).status is Status.UNAUTHENTICATED
    await goes_on(edge, await login(edge, name, "another-secret"))


async def test_a_new_secret_that_an_administrator_sets_ends_the_sessions_of_the_old_one(
    edge: Edge, tokens: Tokens
) -> None:
    name = await made(edge, tokens.admin)
    session = await login(edge, name)
    change = v1.SetSecretRequest(account=name, secret="another-secret")
    await edge.call("iam.set_secret", change, tokens.admin)
    await is_over(edge, session)
    await goes_on(edge, await login(edge, name, "another-secret"))


async def test_only_who_has_the_secret_is_told_that_the_account_is_disabled(
    edge: Edge, tokens: Tokens
) -> None:
    name = await made(edge, tokens.admin)
    session = await login(edge, name)
    await edge.call("iam.disable_account", v1.DisableAccountRequest(account=name), tokens.admin)
    assert "disabled" in (await refusal(login(edge, name))).message
    wrong = await refusal(login(edge, name, "not the secret"))
    assert wrong == await refusal(login(edge, "nobody-at-all", "not the secret"))
    await is_over(edge, session)
    await edge.call("iam.enable_account", v1.EnableAccountRequest(account=name), tokens.admin)
    assert "session has ended" in await is_over(edge, session)
    await goes_on(edge, await login(edge, name))


async def test_a_deleted_account_is_out_and_its_name_is_free(edge: Edge, tokens: Tokens) -> None:
    name = await made(edge, tokens.admin)
    session = await login(edge, name)
    delete = v1.DeleteAccountRequest(request_id=new_id(), account=name)
    first = await edge.call("iam.delete_account", delete, tokens.admin)
    again = await edge.call("iam.delete_account", delete, tokens.admin)
    assert again.position.seq >= first.position.seq
    await is_over(edge, session)
    found = await refusal(
        edge.call("iam.get_account", v1.GetAccountRequest(account=session.account), tokens.admin)
    )
    assert found.status is Status.NOT_FOUND
    await edge.call(
        "iam.create_account", v1.CreateAccountRequest(name=name, secret=SECRET), tokens.admin
    )


async def test_an_administrator_does_not_end_itself(edge: Edge, tokens: Tokens) -> None:
    me = (await edge.call(*ME, tokens.admin)).account
    for method, message in (
        ("iam.delete_account", v1.DeleteAccountRequest(account=me)),
        ("iam.disable_account", v1.DisableAccountRequest(account=me)),
    ):
        refused = await refusal(edge.call(method, message, tokens.admin))
        assert refused.status is Status.INVALID_ARGUMENT
        assert "yourself" in refused.message
    unbind = v1.UnbindRoleRequest(account=me, binding=v1.RoleBinding(role="admin"))
    refused = await refusal(edge.call("iam.unbind_role", unbind, tokens.admin))
    assert refused.status is Status.FAILED_PRECONDITION


@pytest.fixture
def region_ca(region: RunningRegion) -> KeyPair:
    files = region.paths.tls("ca")
    return read_pair(files.cert, files.key)


@asynccontextmanager
async def shown(region: RunningRegion, pair: KeyPair, folder: Path) -> AsyncIterator[v1.IamStub]:
    """The service, called over a connection that shows a client certificate."""
    cert, key = folder / "client.pem", folder / "client.key"
    write_pair(pair, cert, key)
    ca = region.paths.tls("ca").cert
    context = client_context(ca, TlsFiles(ca=ca, cert=cert, key=key))
    address = region.config.listen.iam
    channel = Channel(address.host, address.port, ssl=context)
    yield v1.IamStub(channel)
    channel.close()


async def test_a_certificate_logs_in_while_it_is_the_account_s(
    edge: Edge, tokens: Tokens, region: RunningRegion, region_ca: KeyPair, tmp_path: Path
) -> None:
    name = await made(edge, tokens.admin)
    pair = issue(region_ca, "robot", client=True)
    add = v1.AddCertificateRequest(account=name, pem=pair.cert.decode())
    async with shown(region, pair, tmp_path) as iam:
        early = await refusal(iam.login(v1.LoginRequest(), timeout=10))
        assert early.status is Status.UNAUTHENTICATED
        (certificate,) = (
            await edge.call("iam.add_certificate", add, tokens.admin)
        ).account.certificates
        assert certificate.subject.startswith("CN=robot")
        session = await iam.login(v1.LoginRequest(), timeout=10)
        assert claims(session.access_token)["cred"] == f"cert:{certificate.fingerprint[:16]}"
        assert (await iam.login(v1.LoginRequest(account=name), timeout=10)).roles == ["auditor"]
        other = await refusal(iam.login(v1.LoginRequest(account="admin"), timeout=10))
        assert other == early
        await goes_on(edge, session)
        remove = v1.RemoveCertificateRequest(account=name, fingerprint=certificate.fingerprint)
        await edge.call("iam.remove_certificate", remove, tokens.admin)
        assert "no longer valid" in await is_over(edge, session)
        assert await refusal(iam.login(v1.LoginRequest(), timeout=10)) == early
    neither = await refusal(edge.call("iam.login", v1.LoginRequest(account=name)))
    assert neither.status is Status.UNAUTHENTICATED


async def test_the_client_logs_in_with_a_certificate_and_ends_its_session(
    edge: Edge, tokens: Tokens, region: RunningRegion, region_ca: KeyPair, tmp_path: Path
) -> None:
    name = await made(edge, tokens.admin)
    pair = issue(region_ca, "robot", client=True)
    add = v1.AddCertificateRequest(account=name, pem=pair.cert.decode())
    await edge.call("iam.add_certificate", add, tokens.admin)
    write_pair(pair, tmp_path / "c.pem", tmp_path / "c.key")
    context = replace(
        region.context, account="", cert=str(tmp_path / "c.pem"), key=str(tmp_path / "c.key")
    )
    async with Client(context) as client:
        given = await client.log_in()
        assert (await client.iam.who_am_i()).account_name == name
        await client.log_out()
    refused = await refusal(edge.call(*ME, given.access))
    assert refused.status is Status.UNAUTHENTICATED


async def test_a_certificate_is_one_account_s(
    edge: Edge, tokens: Tokens, region_ca: KeyPair
) -> None:
    first, second = await made(edge, tokens.admin), await made(edge, tokens.admin)
    pem = issue(region_ca, "robot", client=True).cert.decode()
    add = v1.AddCertificateRequest(account=first, pem=pem)
    await edge.call("iam.add_certificate", add, tokens.admin)
    add = v1.AddCertificateRequest(account=second, pem=pem)
    taken = await refusal(edge.call("iam.add_certificate", add, tokens.admin))
    assert taken.status is Status.ALREADY_EXISTS
    gone = v1.DeleteAccountRequest(account=first)
    await edge.call("iam.delete_account", gone, tokens.admin)
    await edge.call(
        "iam.add_certificate", v1.AddCertificateRequest(account=second, pem=pem), tokens.admin
    )


async def test_what_is_no_client_s_certificate_is_not_bound(edge: Edge, tokens: Tokens) -> None:
    ca = make_ca("some")
    past = datetime.now(UTC) - timedelta(days=800)
    unfit = {
        "no certificate": "nonsense",
        "of a CA": ca.cert.decode(),
        "expired": issue(make_ca("old", now=past), "x", client=True, now=past).cert.decode(),
        "private key": issue(ca, "x", client=True).key.decode(),
    }
    for problem, pem in unfit.items():
        add = v1.AddCertificateRequest(account="rita", pem=pem)
        refused = await refusal(edge.call("iam.add_certificate", add, tokens.admin))
        assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("pem",))
        assert problem in refused.message


async def test_a_login_is_on_record_before_there_is_a_token(edge: Edge, tokens: Tokens) -> None:
    token = await edge.token("rita", SECRET, "red")
    me = await edge.call("iam.who_am_i", v1.WhoAmIRequest(), token)
    head = (await edge.call("log.get_log_status", v1.GetLogStatusRequest(), token)).head
    asked = v1.ListAuditRequest(
        account=me.account, command="account.login", freshness=v1.Freshness(at_least=head)
    )
    newest = (await edge.call("log.list_audit", asked, tokens.admin)).records[0]
    assert (newest.outcome, newest.project) == ("done", me.project)
    assert newest.credential.startswith("secret:")
    where = v1.ReadLogRequest(first=newest.position.seq, last=newest.position.seq)
    metadata = {"authorization": f"Bearer {tokens.admin}"}
    found = v1.LogStub(edge.channel("log")).read_log(where, metadata=metadata, timeout=10)
    opened = [
        json.loads(event.data)
        async for record in found
        for event in record.events
        if record.commit == newest.commit
    ]
    assert opened[0]["peer"] == "127.0.0.1"
