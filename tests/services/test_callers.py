"""Who may call, and what one project can learn of another: nothing."""

import base64
import json
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpclib import Status

from mulligan.log.etcd import Etcd
from mulligan.log.keys import Keys
from mulligan.model import RegionName, new_id, utc_now
from mulligan.proto import v1
from mulligan.secrets import SecretStore, load_master_keys
from mulligan.services.iam.signing import SECRET_KIND
from mulligan.services.iam.tokens import ACCESS_LIFE, Signer
from mulligan.services.runtime import etcd_settings
from mulligan.services.secrets.secretkv import EtcdSecretKv
from tests.e2e.region import RunningRegion, until
from tests.services.conftest import SECRET, Tokens
from tests.services.edge import Edge, Refusal, refusal

ME = ("iam.who_am_i", v1.WhoAmIRequest())
ABSENT = "018f0000-0000-7000-8000-000000000000"


class OwnKey(NamedTuple):
    """The private half of a signing key, and its id."""

    kid: str
    private: Ed25519PrivateKey


@pytest.fixture(scope="module")
async def own_key(region: RunningRegion, edge: Edge, tokens: Tokens) -> OwnKey:
    """The key that the region signs tokens with, as mulligan-iam itself reads it."""
    config = region.config
    name = RegionName(config.region)
    kid = version = ""
    request = v1.ReadLogRequest(filter=v1.LogFilter(type="key.created"))
    metadata = {"authorization": f"Bearer {tokens.admin}"}
    stub = v1.LogStub(edge.channel("log"))
    async for record in stub.read_log(request, metadata=metadata, timeout=10):
        for event in record.events:
            made = json.loads(event.data) if event.type == "key.created" else {}
            if made and made.get("use", "token") == "token":
                kid, version = made["kid"], made["version"]
    async with Etcd(etcd_settings(config)) as etcd:
        masters = load_master_keys(config.secrets.key_file, {})
        store = SecretStore(name, masters, EtcdSecretKv(etcd, Keys(name)))
        raw = (await store.get(SECRET_KIND, kid, version)).reveal()
    return OwnKey(kid, Ed25519PrivateKey.from_private_bytes(raw))


async def account_of(edge: Edge, token: str) -> str:
    return str((await edge.call(*ME, token)).account)


def tampered(token: str) -> str:
    """Return the token with ``admin`` written into its roles and the signature left."""
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["roles"] = ["admin"]
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{changed}.{signature}"


async def denied(edge: Edge, token: str) -> str:
    refused = await refusal(edge.call(*ME, token))
    assert refused.status is Status.UNAUTHENTICATED
    return refused.message


async def test_without_a_token_one_is_told_to_log_in(edge: Edge) -> None:
    assert "log in" in await denied(edge, "")


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "e30.e30.e30"])
async def test_a_token_that_is_none_is_refused(edge: Edge, token: str) -> None:
    await denied(edge, token)


async def test_a_tampered_token_is_refused(edge: Edge, tokens: Tokens) -> None:
    assert "not valid" in await denied(edge, tampered(tokens.red))


async def test_a_token_signed_by_nobody_is_refused(edge: Edge, tokens: Tokens) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"1"}').rstrip(b"=").decode()
    await denied(edge, f"{header}.{tokens.admin.split('.')[1]}.")


async def test_a_token_of_a_key_that_is_not_ours_is_refused(edge: Edge, tokens: Tokens) -> None:
    account = await account_of(edge, tokens.admin)
    for kid in ("1", "2", "x"):
        signer = Signer(RegionName("e2e"), kid, Ed25519PrivateKey.generate())
        await denied(edge, signer.access(account, "", ["admin"], utc_now())[0])


async def test_an_expired_token_says_so(edge: Edge, tokens: Tokens, own_key: OwnKey) -> None:
    signer = Signer(RegionName("e2e"), *own_key)
    account = await account_of(edge, tokens.admin)
    valid, _ = signer.access(account, "", ["admin"], utc_now())
    assert await account_of(edge, valid) == account
    past = utc_now() - ACCESS_LIFE - timedelta(seconds=30)
    expired, _ = signer.access(account, "", ["admin"], past)
    assert "expired; log in again" in await denied(edge, expired)


async def test_a_token_for_another_region_or_use_says_so(
    edge: Edge, tokens: Tokens, own_key: OwnKey
) -> None:
    account = await account_of(edge, tokens.admin)
    elsewhere, _ = Signer(RegionName("other"), *own_key).access(account, "", ["admin"], utc_now())
    assert "another region or use" in await denied(edge, elsewhere)
    refresh = Signer(RegionName("e2e"), *own_key).refresh(account, "", utc_now())
    assert "another region or use" in await denied(edge, refresh)


async def test_a_wrong_secret_and_an_unknown_account_look_the_same(edge: Edge) -> None:
    texts = set()
    for account in ("admin", "nobody", ABSENT):
        request = v1.LoginRequest(account=account, secret="not the secret")
        refused = await refusal(edge.call("iam.login", request))
        assert refused.status is Status.UNAUTHENTICATED
        texts.add(refused.message)
    assert len(texts) == 1


async def test_a_project_without_a_role_and_one_that_is_not_there_look_the_same(
    edge: Edge, tokens: Tokens
) -> None:
    texts = set()
    for project in ("blue", "grey"):
        request = v1.LoginRequest(account="rita", secret=SECRET, project=project)
        refused = await refusal(edge.call("iam.login", request))
        assert refused.status is Status.UNAUTHENTICATED
        texts.add(refused.message.replace(project, "PROJECT"))
    assert len(texts) == 1


async def test_a_disabled_account_is_out_at_once_and_everywhere(edge: Edge, tokens: Tokens) -> None:
    made = v1.CreateAccountRequest(name="dora", secret=SECRET)
    await edge.call("iam.create_account", made, tokens.admin)
    binding = v1.RoleBinding(role="auditor")
    await edge.call(
        "iam.bind_role", v1.BindRoleRequest(account="dora", binding=binding), tokens.admin
    )
    token = await edge.token("dora", SECRET)
    await edge.call("resource.list_claims", v1.ListClaimsRequest(), token)
    disabled = v1.DisableAccountRequest(account="dora")
    await edge.call("iam.disable_account", disabled, tokens.admin)
    assert "disabled" in await denied(edge, token)

    async def out() -> bool:
        refused = await refusal(edge.call("control.list_machines", v1.ListMachinesRequest(), token))
        return refused.status is Status.UNAUTHENTICATED

    await until(out, "control knows that the account is disabled", 5)
    login = v1.LoginRequest(account="dora", secret=SECRET)
    assert (await refusal(edge.call("iam.login", login))).status is Status.UNAUTHENTICATED
    await edge.call("iam.enable_account", v1.EnableAccountRequest(account="dora"), tokens.admin)
    await edge.token("dora", SECRET)


NOT_FOR_MEMBERS = {
    "resource.create_provider": v1.CreateProviderRequest(name="x", type="machine"),
    "control.inspect_machine": v1.MachineRequest(machine=ABSENT),
    "control.create_image": v1.CreateImageRequest(),
    "control.create_credential": v1.CreateCredentialRequest(),
    "control.list_credentials": v1.ListCredentialsRequest(),
    "iam.create_account": v1.CreateAccountRequest(),
    "iam.list_accounts": v1.ListAccountsRequest(),
    "iam.bind_role": v1.BindRoleRequest(),
    "projector.list_projections": v1.ListProjectionsRequest(),
    "control.control_configure": v1.ConfigureRequest(log_level="debug"),
}


@pytest.mark.parametrize("method", NOT_FOR_MEMBERS)
async def test_what_takes_an_operator_says_which_permission_lacks(
    edge: Edge, tokens: Tokens, method: str
) -> None:
    refused = await refusal(edge.call(method, NOT_FOR_MEMBERS[method], tokens.red))
    assert refused.status is Status.PERMISSION_DENIED
    assert "needs the permission" in refused.message
    assert "member" in refused.message


async def test_a_reader_may_look_and_not_take(edge: Edge, tokens: Tokens) -> None:
    await edge.call("resource.list_claims", v1.ListClaimsRequest(), tokens.reader)
    refused = await refusal(edge.call("resource.make_claim", v1.MakeClaimRequest(), tokens.reader))
    assert refused.status is Status.PERMISSION_DENIED


@pytest.fixture(scope="module")
async def reds(edge: Edge, tokens: Tokens) -> v1.Claim:
    """A claim of the project red, over a provider of everybody's."""
    stock = v1.CreateProviderRequest(
        name="pool", type="compute", inventories=[v1.Inventory(resource_class="memory", total=100)]
    )
    await edge.call("resource.create_provider", stock, tokens.admin)
    taken = v1.ClaimExactRequest(
        name="reds", allocations=[v1.Allocation(provider="pool", amounts={"memory": 10})]
    )
    claim: v1.Claim = (await edge.call("resource.claim_exact", taken, tokens.red)).claim
    return claim


def looks_missing(found: Refusal, missing: Refusal, key: str) -> bool:
    """Tell whether the refusal is that of an object that is not there."""
    as_missing = missing._replace(message=missing.message.replace(ABSENT, key))
    return found == as_missing and found.status is Status.NOT_FOUND


OF_A_CLAIM: dict[str, Any] = {
    "resource.get_claim": lambda key: v1.GetClaimRequest(claim=key),
    "resource.release_claim": lambda key: v1.ReleaseClaimRequest(claim=key),
    "control.deploy_machine": lambda key: v1.DeployMachineRequest(claim=key, image=ABSENT),
}


@pytest.mark.parametrize("method", OF_A_CLAIM)
async def test_another_project_s_claim_looks_as_if_it_were_not_there(
    edge: Edge, tokens: Tokens, reds: v1.Claim, method: str
) -> None:
    ask = OF_A_CLAIM[method]
    found = await refusal(edge.call(method, ask(reds.uuid), tokens.blue))
    missing = await refusal(edge.call(method, ask(ABSENT), tokens.blue))
    assert looks_missing(found, missing, reds.uuid)
    assert (await refusal(edge.call(method, ask("reds"), tokens.blue))).status is Status.NOT_FOUND
    kept = await edge.call("resource.get_claim", v1.GetClaimRequest(claim="reds"), tokens.red)
    assert kept.claim.state is v1.ClaimState.ACTIVE


async def test_another_project_s_request_id_is_not_told_apart_from_a_clash(
    edge: Edge, tokens: Tokens, reds: v1.Claim
) -> None:
    again = v1.ClaimExactRequest(
        request_id=reds.uuid,
        name="reds",
        allocations=[v1.Allocation(provider="pool", amounts={"memory": 10})],
    )
    refused = await refusal(edge.call("resource.claim_exact", again, tokens.blue))
    assert refused.status is Status.ALREADY_EXISTS


async def test_lists_and_names_hold_only_one_s_own(
    edge: Edge, tokens: Tokens, reds: v1.Claim
) -> None:
    head = (await edge.call("log.get_log_status", v1.GetLogStatusRequest(), tokens.admin)).head
    asked = v1.ListClaimsRequest(freshness=v1.Freshness(at_least=head))
    assert (await edge.call("resource.list_claims", asked, tokens.blue)).claims == []
    own = await edge.call("resource.list_claims", asked, tokens.reader)
    assert [c.uuid for c in own.claims] == [reds.uuid]
    resolve = v1.ResolveRequest(kind="claim", names=["reds"], project=reds.project)
    assert (await edge.call("meta.resolve", resolve, tokens.blue)).names == []
    described = v1.DescribeRequest(uuids=[reds.uuid])
    assert (await edge.call("meta.describe", described, tokens.blue)).names == []


async def test_two_projects_may_use_one_name(edge: Edge, tokens: Tokens, reds: v1.Claim) -> None:
    taken = v1.ClaimExactRequest(
        name="reds", allocations=[v1.Allocation(provider="pool", amounts={"memory": 1})]
    )
    claim = (await edge.call("resource.claim_exact", taken, tokens.blue)).claim
    assert claim.uuid != reds.uuid
    await edge.call("resource.release_claim", v1.ReleaseClaimRequest(claim="reds"), tokens.blue)


async def test_the_log_shows_a_tenant_only_its_own_project(
    edge: Edge, tokens: Tokens, reds: v1.Claim
) -> None:
    stub = v1.LogStub(edge.channel("log"))
    metadata = {"authorization": f"Bearer {tokens.blue}"}
    everything = stub.read_log(v1.ReadLogRequest(), metadata=metadata, timeout=10)
    seen = [record async for record in everything]
    assert not [r for r in seen if r.project == reds.project]
    assert not [r for r in seen for e in r.events if reds.uuid in e.stream or reds.uuid in e.data]


async def test_secrets_are_in_no_answer_and_no_log(
    edge: Edge, tokens: Tokens, region: RunningRegion
) -> None:
    password = f"pw-{new_id()}"
    login = v1.CreateCredentialRequest(name="hidden", username="root", password=password)
    answer = await edge.call("control.create_credential", login, tokens.admin)
    refused = await refusal(edge.call("control.create_credential", login, tokens.admin))
    assert refused.status is Status.ALREADY_EXISTS
    stub = v1.LogStub(edge.channel("log"))
    metadata = {"authorization": f"Bearer {tokens.admin}"}
    everything = stub.read_log(v1.ReadLogRequest(), metadata=metadata, timeout=10)
    texts = [str(answer), refused.message, *[str(record) async for record in everything]]
    texts += [p.read_text(errors="replace") for p in region.paths.log("iam").parent.iterdir()]
    for secret in (password, SECRET, region.admin_secret):
        assert not [text for text in texts if secret in text]


async def test_the_names_of_accounts_projects_and_machines_are_for_operators(
    edge: Edge, tokens: Tokens
) -> None:
    for kind in ("account", "project", "machine", "credential"):
        listing = v1.ListNamesRequest(kind=kind)
        refused = await refusal(edge.call("meta.list_names", listing, tokens.red))
        assert refused.status is Status.PERMISSION_DENIED
        assert (await edge.call("meta.list_names", listing, tokens.admin)).names is not None
    resolve = v1.ResolveRequest(kind="account", names=["admin"])
    assert (await edge.call("meta.resolve", resolve, tokens.red)).names == []
    found = (await edge.call("meta.resolve", resolve, tokens.admin)).names
    assert [name.name for name in found] == ["admin"]
    described = v1.DescribeRequest(uuids=[found[0].uuid])
    assert (await edge.call("meta.describe", described, tokens.red)).names == []
