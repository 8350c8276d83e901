"""A role in a project beside one over the system: neither lends its reach to the other."""

import pytest
from grpclib import Status

from mulligan.proto import v1
from tests.services.conftest import SECRET, Tokens
from tests.services.edge import Edge, refusal


@pytest.fixture(scope="module")
async def mixed(edge: Edge, tokens: Tokens) -> str:
    """A token of an auditor of the region who owns the project blue."""
    made = v1.CreateAccountRequest(name="mia", secret=SECRET)
    await edge.call("iam.create_account", made, tokens.admin)
    for role, project in (("auditor", ""), ("owner", "blue")):
        binding = v1.RoleBinding(role=role, project=project)
        bound = v1.BindRoleRequest(account="mia", binding=binding)
        await edge.call("iam.bind_role", bound, tokens.admin)
    return await edge.token("mia", SECRET, "blue")


@pytest.fixture(scope="module")
async def others(edge: Edge, tokens: Tokens) -> v1.Claim:
    """A claim of another project."""
    stock = v1.CreateProviderRequest(
        name="mixed-pool",
        type="compute",
        inventories=[v1.Inventory(resource_class="memory", total=100)],
    )
    await edge.call("resource.create_provider", stock, tokens.admin)
    taken = v1.ClaimExactRequest(
        name="not-mias",
        allocations=[v1.Allocation(provider="mixed-pool", amounts={"memory": 10})],
    )
    await edge.call("iam.create_project", v1.CreateProjectRequest(name="mauve"), tokens.admin)
    theirs = await edge.admin("mauve")
    claim: v1.Claim = (await edge.call("resource.claim_exact", taken, theirs)).claim
    return claim


async def test_an_auditor_reads_every_project(edge: Edge, mixed: str, others: v1.Claim) -> None:
    found = await edge.call("resource.get_claim", v1.GetClaimRequest(claim=others.uuid), mixed)
    assert found.claim.uuid == others.uuid


async def test_an_auditor_who_owns_one_project_changes_no_other(
    edge: Edge, mixed: str, others: v1.Claim
) -> None:
    for method, message in (
        ("resource.release_claim", v1.ReleaseClaimRequest(claim=others.uuid)),
        (
            "meta.update_metadata",
            v1.UpdateMetadataRequest(kind="claim", object=others.uuid, add_tags=["x"]),
        ),
    ):
        refused = await refusal(edge.call(method, message, mixed))
        assert refused.status is Status.NOT_FOUND, method


@pytest.mark.parametrize(("role", "project"), [("admin", ""), ("auditor", ""), ("owner", "red")])
async def test_an_auditor_who_owns_a_project_gives_no_role_beyond_it(
    edge: Edge, tokens: Tokens, mixed: str, role: str, project: str
) -> None:
    me = (await edge.call("iam.who_am_i", v1.WhoAmIRequest(), mixed)).account
    binding = v1.RoleBinding(role=role, project=project)
    bound = v1.BindRoleRequest(account=me, binding=binding)
    await refusal(edge.call("iam.bind_role", bound, mixed))
    held = (
        await edge.call("iam.get_account", v1.GetAccountRequest(account="mia"), tokens.admin)
    ).account
    assert {(r.role, bool(r.project)) for r in held.roles} == {("auditor", False), ("owner", True)}
