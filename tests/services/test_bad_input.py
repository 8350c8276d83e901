"""Requests that cannot succeed as written: the status, the field, and a text that helps."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from grpclib import Status

from mulligan.model import new_id
from mulligan.proto import v1
from tests.services.conftest import Tokens
from tests.services.edge import Edge, refusal

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
ABSENT = "018f0000-0000-7000-8000-000000000000"
SHA = "0" * 64


def group(**changes: Any) -> v1.RequestGroup:
    return v1.RequestGroup(**{"resources": {"machine": 1}, **changes})


OF_THE_CLAIM = ("request_id", "name", "consumer", "on_end", "ending_notice")


def claim(*groups: v1.RequestGroup, **changes: Any) -> v1.MakeClaimRequest:
    """A claim on a machine, with changes to it or to its request."""
    own = {key: changes.pop(key) for key in OF_THE_CLAIM if key in changes}
    request = v1.ResourceRequest(groups=list(groups) or [group()], **changes)
    return v1.MakeClaimRequest(request=request, **own)


def names(*values: str) -> v1.StringList:
    return v1.StringList(values=list(values))


def provider(**changes: Any) -> v1.CreateProviderRequest:
    return v1.CreateProviderRequest(**{"name": "shelf", "type": "compute", **changes})


def stock(**changes: Any) -> v1.CreateProviderRequest:
    one = v1.Inventory(**{"resource_class": "memory", "total": 1, **changes})
    return provider(inventories=[one])


def image(**changes: Any) -> v1.CreateImageRequest:
    return v1.CreateImageRequest(**{"name": "i", "url": "file:a.iso", "sha256": SHA, **changes})


def enrol(**changes: Any) -> v1.EnrollMachineRequest:
    bmc = v1.Bmc(**{"address": "https://192.0.2.1", "credential": "lab", **changes})
    return v1.EnrollMachineRequest(name="m", bmc=bmc)


MALFORMED = {
    "a malformed UUID": (
        "resource.get_claim",
        v1.GetClaimRequest(claim="018f0000-0000-7000-8000-00000000000Z"),
        "claim",
    ),
    "a UUID in upper case": (
        "control.get_machine",
        v1.GetMachineRequest(machine="018F0000-0000-7000-8000-000000000000"),
        "machine",
    ),
    "an empty reference": ("resource.get_claim", v1.GetClaimRequest(), "claim"),
    "a request id that is no UUID": (
        "resource.make_claim",
        claim(request_id="again"),
        "request_id",
    ),
    "no groups": ("resource.make_claim", v1.MakeClaimRequest(), "request.groups"),
    "no resources": (
        "resource.make_claim",
        claim(group(resources={})),
        "request.groups[0].resources",
    ),
    "a negative amount": (
        "resource.make_claim",
        claim(group(resources={"memory": -1})),
        "request.groups[0].resources[memory]",
    ),
    "a zero amount": (
        "resource.make_claim",
        claim(group(), group(name="b", resources={"memory": 0})),
        "request.groups[1].resources[memory]",
    ),
    "an unknown class": (
        "resource.make_claim",
        claim(group(resources={"unicorns": 1})),
        "request.groups[0].resources[unicorns]",
    ),
    "a custom class that is no name": (
        "resource.make_claim",
        claim(group(resources={"custom.": 1, "memory": 1})),
        "request.groups[0].resources[custom.]",
    ),
    "too many instances": (
        "resource.make_claim",
        claim(group(count=1001)),
        "request.groups[0].count",
    ),
    "a negative count": ("resource.make_claim", claim(group(count=-1)), "request.groups[0].count"),
    "too many allocations": (
        "resource.make_claim",
        claim(group(count=600), group(name="b", count=600)),
        "request.groups",
    ),
    "two groups of one name": (
        "resource.make_claim",
        claim(group(), group()),
        "request.groups[1].name",
    ),
    "a group's name that is too long": (
        "resource.make_claim",
        claim(group(name="x" * 10_000)),
        "request.groups[0].name",
    ),
    "an unknown policy": ("resource.make_claim", claim(policy="cheapest"), "request.policy"),
    "an end before the start": (
        "resource.make_claim",
        claim(window=v1.Span(start=NOW + 2 * HOUR, end=NOW + HOUR)),
        "request.window.end",
    ),
    "an end at the start": (
        "resource.make_claim",
        claim(window=v1.Span(start=NOW + HOUR, end=NOW + HOUR)),
        "request.window.end",
    ),
    "a window in the past": (
        "resource.make_claim",
        claim(window=v1.Span(start=NOW - 2 * HOUR, end=NOW - HOUR)),
        "request.window.end",
    ),
    "a start in the past": (
        "resource.make_claim",
        claim(window=v1.Span(start=NOW - 2 * HOUR, end=NOW + HOUR)),
        "request.window.start",
    ),
    "a duration and an end": (
        "resource.make_claim",
        claim(window=v1.Span(duration=HOUR, end=NOW + HOUR)),
        "request.window.end",
    ),
    "a bound without a duration": (
        "resource.make_claim",
        claim(window=v1.Span(not_after=NOW + HOUR)),
        "request.window.not_after",
    ),
    "a duration that does not fit before its bound": (
        "resource.make_claim",
        claim(window=v1.Span(duration=2 * HOUR, not_after=NOW + HOUR)),
        "request.window.not_after",
    ),
    "no duration": (
        "resource.make_claim",
        claim(window=v1.Span(duration=timedelta(0))),
        "request.window.duration",
    ),
    "isolation of a group that is none": (
        "resource.make_claim",
        claim(isolate=[names("server")]),
        "request.isolate[0]",
    ),
    "a subtree of a group that is none": (
        "resource.make_claim",
        claim(group(name="a"), same_subtree=[names("a"), names("b")]),
        "request.same_subtree[1]",
    ),
    "a choice of nothing": (
        "resource.make_claim",
        claim(group(capabilities=v1.CapabilityFilter(any_of=[names()]))),
        "request.groups[0].capabilities.any_of[0]",
    ),
    "a choice of what is forbidden": (
        "resource.make_claim",
        claim(
            group(
                capabilities=v1.CapabilityFilter(
                    any_of=[names("a.b", "a.c")], forbid=["a.b", "a.c"]
                )
            )
        ),
        "request.groups[0].capabilities.any_of",
    ),
    "a capability out of form": (
        "resource.make_claim",
        claim(group(capabilities=v1.CapabilityFilter(require=["AVX2"]))),
        "request.groups[0].capabilities.require[0]",
    ),
    "a root that contradicts itself": (
        "resource.make_claim",
        claim(root_capabilities=v1.CapabilityFilter(require=["a.b"], forbid=["a.b"])),
        "request.root_capabilities.require",
    ),
    "a group without resources to split": (
        "resource.make_claim",
        claim(group(), group(name="b", resources={}, single_provider=False)),
        "request.groups[1].single_provider",
    ),
    "a distance without a bound": (
        "resource.make_claim",
        claim(group(name="a"), distances=[v1.DistanceRule(from_="a", to="a", type="failure")]),
        "request.distances[0].min",
    ),
    "a distance to nothing": (
        "resource.make_claim",
        claim(group(name="a"), distances=[v1.DistanceRule(from_="a", type="failure", min="rack")]),
        "request.distances[0].to",
    ),
    "a distance of an unknown type": (
        "resource.make_claim",
        claim(
            group(name="a"),
            distances=[v1.DistanceRule(from_="a", to="a", type="unheard-of", min="rack")],
        ),
        "request.distances[0].type",
    ),
    "an unknown fate at the end": ("resource.make_claim", claim(on_end="burn"), "on_end"),
    "a notice before the ages": (
        "resource.make_claim",
        claim(ending_notice=timedelta(days=1000)),
        "ending_notice",
    ),
    "too many candidates": (
        "resource.list_candidates",
        v1.ListCandidatesRequest(request=claim().request, limit=10_001),
        "limit",
    ),
    "a plan of nothing": ("resource.plan_claims", v1.PlanClaimsRequest(), "claims"),
    "a plan of a bad request": (
        "resource.plan_claims",
        v1.PlanClaimsRequest(claims=[v1.PlannedClaim(request=claim(group(count=-1)).request)]),
        "claims[0].request.groups[0].count",
    ),
    "a claim's name that is none": ("resource.make_claim", claim(name="../etc"), "name"),
    "a consumer that is no UUID": ("resource.make_claim", claim(consumer="me"), "consumer"),
    "a capability both wanted and not": (
        "resource.make_claim",
        claim(group(capabilities=v1.CapabilityFilter(require=["a.b"], forbid=["a.b"]))),
        "request.groups[0].capabilities.require",
    ),
    "an exact claim of nothing": ("resource.claim_exact", v1.ClaimExactRequest(), "allocations"),
    "an exact claim of a negative amount": (
        "resource.claim_exact",
        v1.ClaimExactRequest(allocations=[v1.Allocation(provider=ABSENT, amounts={"memory": -5})]),
        "allocations[0].amounts[memory]",
    ),
    "states that do not exist": (
        "resource.list_claims",
        v1.ListClaimsRequest(states=[v1.ClaimState(99)]),
        "states",
    ),
    "an unspecified state": (
        "control.list_machines",
        v1.ListMachinesRequest(states=[v1.MachineState.UNSPECIFIED]),
        "states",
    ),
    "a page that is too large": (
        "resource.list_claims",
        v1.ListClaimsRequest(page=v1.Page(size=1001)),
        "page.size",
    ),
    "a negative page": (
        "control.list_machines",
        v1.ListMachinesRequest(page=v1.Page(size=-1)),
        "page.size",
    ),
    "a page token of nowhere": (
        "control.list_machines",
        v1.ListMachinesRequest(page=v1.Page(token="bm9uc2Vuc2U")),
        "page.token",
    ),
    "a deploy of no claim": (
        "control.deploy_machine",
        v1.DeployMachineRequest(image="tiny"),
        "claim",
    ),
    "a power target that does not exist": (
        "control.power_machine",
        v1.PowerMachineRequest(machine=ABSENT, target=v1.PowerTarget(99)),
        "target",
    ),
    "a watch from beyond the head": ("log.watch_log", v1.WatchLogRequest(after=10**9), "after"),
    "a kind that does not exist": ("meta.resolve", v1.ResolveRequest(kind="pony"), "kind"),
}
"""What a member of a project may ask for, and must not ask like this."""

MALFORMED_BY_OPERATORS = {
    "a parent that is not in this region": (
        "resource.create_provider",
        provider(parent="elsewhere"),
        "parent",
    ),
    "a turnaround of half a second": (
        "resource.create_provider",
        provider(turnaround=timedelta(milliseconds=500)),
        "turnaround",
    ),
    "a turnaround of a year": (
        "resource.create_provider",
        provider(turnaround=timedelta(days=365)),
        "turnaround",
    ),
    "a distance type of one position": (
        "resource.create_distance_type",
        v1.CreateDistanceTypeRequest(name="failure", positions=["rack"]),
        "positions",
    ),
    "a distance type that is no word": (
        "resource.create_distance_type",
        v1.CreateDistanceTypeRequest(name="Failure Domain", positions=["rack", "row"]),
        "name",
    ),
    "a usage summary by the weather": (
        "resource.summarize_usage",
        v1.SummarizeUsageRequest(by="weather"),
        "by",
    ),
    "a usage summary that ends before it starts": (
        "resource.summarize_usage",
        v1.SummarizeUsageRequest(window=v1.Window(start=NOW + HOUR)),
        "window.start",
    ),
    "a reshape of nothing": ("resource.reshape", v1.ReshapeRequest(), "inventories"),
    "an empty name": ("resource.create_provider", provider(name=""), "name"),
    "a name that is too long": ("resource.create_provider", provider(name="x" * 64), "name"),
    "a name with a slash": ("resource.create_group", v1.CreateGroupRequest(name="a/b"), "name"),
    "an unknown type": ("resource.create_provider", provider(type="toaster"), "type"),
    "a negative total": ("resource.create_provider", stock(total=-1), "inventories[0].total"),
    "more reserved than there is": (
        "resource.create_provider",
        stock(reserved=2),
        "inventories[0].reserved",
    ),
    "a negative unit": ("resource.create_provider", stock(min_unit=-1), "inventories[0].min_unit"),
    "a ratio that is no number": (
        "resource.create_provider",
        stock(allocation_ratio=float("nan")),
        "inventories[0].allocation_ratio",
    ),
    "an infinite ratio": (
        "resource.create_provider",
        stock(allocation_ratio=float("inf")),
        "inventories[0].allocation_ratio",
    ),
    "a capacity beyond 64 bits": (
        "resource.create_provider",
        stock(total=2**62, allocation_ratio=4.0),
        "inventories[0].allocation_ratio",
    ),
    "one class twice": (
        "resource.create_provider",
        provider(inventories=[v1.Inventory(resource_class="memory", total=1)] * 2),
        "inventories[1].resource_class",
    ),
    "a capability that is none": (
        "resource.create_provider",
        provider(capabilities=["SSD!"]),
        "capabilities[0]",
    ),
    "attributes that are too long": (
        "resource.create_provider",
        provider(attributes={"note": "x" * 1025}),
        "attributes[note]",
    ),
    "an attribute with a control character": (
        "resource.create_provider",
        provider(attributes={"note": "a\0b"}),
        "attributes[note]",
    ),
    "a group's attribute with a control character": (
        "resource.create_group",
        v1.CreateGroupRequest(name="nul", attributes={"a\0b": "x"}),
        "attributes[a\0b]",
    ),
    "an update of nothing": (
        "resource.update_provider",
        v1.UpdateProviderRequest(provider=ABSENT),
        "update_mask",
    ),
    "an update of what is fixed": (
        "resource.update_provider",
        v1.UpdateProviderRequest(provider=ABSENT, update_mask=["name"]),
        "update_mask",
    ),
    "an etag that is none": (
        "resource.delete_provider",
        v1.DeleteProviderRequest(provider=ABSENT, etag="newest"),
        "etag",
    ),
    "an etag without end": (
        "resource.delete_provider",
        v1.DeleteProviderRequest(provider=ABSENT, etag="9" * 5000),
        "etag",
    ),
    "an image of a short checksum": ("control.create_image", image(sha256="abc"), "sha256"),
    "an image at no URL": ("control.create_image", image(url="ftp://h/i.iso"), "url"),
    "an image outside the folder": ("control.create_image", image(url="file:../x"), "url"),
    "an image with a password": ("control.create_image", image(url="https://u:p@h/i"), "url"),
    "an image's URL with a control character": (
        "control.create_image",
        image(url="https://h/a\0b"),
        "url",
    ),
    "an unknown firmware": ("control.create_image", image(firmware="openboot"), "firmware"),
    "a BMC without a scheme": ("control.enroll_machine", enrol(address="10.0.0.1"), "bmc.address"),
    "a BMC on port 0": ("control.enroll_machine", enrol(address="https://h:0"), "bmc.address"),
    "a BMC's address with a control character": (
        "control.enroll_machine",
        enrol(address="https://h\0"),
        "bmc.address",
    ),
    "a short fingerprint": ("control.enroll_machine", enrol(fingerprint="ab"), "bmc.fingerprint"),
    "a system id that is a path": ("control.enroll_machine", enrol(system="../1"), "bmc.system"),
    "no BMC": ("control.enroll_machine", v1.EnrollMachineRequest(name="m"), "bmc"),
    "a login without a password": (
        "control.create_credential",
        v1.CreateCredentialRequest(name="c", username="u"),
        "password",
    ),
    "a secret that is too short": (
        "iam.create_account",
        v1.CreateAccountRequest(name="eve", secret="short"),
        "secret",
    ),
    "an unknown kind of account": (
        "iam.create_account",
        v1.CreateAccountRequest(name="eve", kind="root"),
        "kind",
    ),
    "an unknown role": (
        "iam.bind_role",
        v1.BindRoleRequest(account="rita", binding=v1.RoleBinding(role="god")),
        "binding.role",
    ),
    "no role": ("iam.bind_role", v1.BindRoleRequest(account="rita"), "binding"),
    "an unknown log level": (
        "resource.resource_configure",
        v1.ConfigureRequest(log_level="loud"),
        "log_level",
    ),
}


@pytest.fixture(scope="module", autouse=True)
async def lab(edge: Edge, tokens: Tokens) -> None:
    """A BMC login that exists."""
    login = v1.CreateCredentialRequest(name="lab", username="u", password="p")
    await edge.call("control.create_credential", login, tokens.admin)


async def drain(stream: Any) -> None:
    async for _ in stream:
        return


async def attempt(edge: Edge, method: str, message: Any, token: str) -> Any:
    if method == "log.watch_log":
        stub = v1.LogStub(edge.channel("log"))
        metadata = {"authorization": f"Bearer {token}"}
        return await drain(stub.watch_log(message, metadata=metadata, timeout=20))
    return await edge.call(method, message, token)


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_tenant_is_told_which_field_is_wrong(edge: Edge, tokens: Tokens, case: str) -> None:
    method, message, field = MALFORMED[case]
    refused = await refusal(attempt(edge, method, message, tokens.red))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, (field,))


@pytest.mark.parametrize("case", MALFORMED_BY_OPERATORS)
async def test_an_operator_is_told_which_field_is_wrong(
    edge: Edge, tokens: Tokens, case: str
) -> None:
    method, message, field = MALFORMED_BY_OPERATORS[case]
    refused = await refusal(edge.call(method, message, tokens.admin))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, (field,))


async def test_what_was_refused_is_not_in_the_log(edge: Edge, tokens: Tokens) -> None:
    before = await edge.call("log.get_log_status", v1.GetLogStatusRequest(), tokens.admin)
    for method, message, _ in MALFORMED_BY_OPERATORS.values():
        await refusal(edge.call(method, message, tokens.admin))
    after = await edge.call("log.get_log_status", v1.GetLogStatusRequest(), tokens.admin)
    assert after.head == before.head


async def test_a_taken_name_says_so(edge: Edge, tokens: Tokens) -> None:
    made = v1.CreateGroupRequest(name="Row 1")
    await edge.call("resource.create_group", made, tokens.admin)
    same = v1.CreateGroupRequest(name="row-1")
    refused = await refusal(edge.call("resource.create_group", same, tokens.admin))
    assert refused.status is Status.ALREADY_EXISTS
    assert "choose another name" in refused.message


async def test_a_stale_etag_is_aborted_and_a_fresh_one_is_not(edge: Edge, tokens: Tokens) -> None:
    made = await edge.call("resource.create_provider", provider(name="etagged"), tokens.admin)

    def update(value: str) -> v1.UpdateProviderRequest:
        return v1.UpdateProviderRequest(
            provider="etagged",
            etag=made.provider.etag,
            update_mask=["attributes"],
            attributes={"rack": value},
        )

    changed = await edge.call("resource.update_provider", update("1"), tokens.admin)
    assert changed.provider.etag != made.provider.etag
    refused = await refusal(edge.call("resource.update_provider", update("2"), tokens.admin))
    assert refused.status is Status.ABORTED
    assert "read it again" in refused.message
    gone = v1.DeleteProviderRequest(provider="etagged", etag=changed.provider.etag)
    await edge.call("resource.delete_provider", gone, tokens.admin)


async def test_a_repeated_request_gets_the_same_answer_and_no_second_commit(
    edge: Edge, tokens: Tokens
) -> None:
    made = v1.CreateGroupRequest(request_id=new_id(), name="once-only")
    first = await edge.call("resource.create_group", made, tokens.admin)
    again = await edge.call("resource.create_group", made, tokens.admin)
    assert again == first


async def test_a_request_id_with_another_payload_is_refused(edge: Edge, tokens: Tokens) -> None:
    request = new_id()
    made = v1.CreateGroupRequest(request_id=request, name="first-use")
    await edge.call("resource.create_group", made, tokens.admin)
    other = v1.CreateGroupRequest(request_id=request, name="second-use")
    refused = await refusal(edge.call("resource.create_group", other, tokens.admin))
    assert refused.status is Status.ALREADY_EXISTS
    assert request in refused.message


async def test_a_request_too_large_for_one_entry_is_refused_and_nothing_halts(
    edge: Edge, tokens: Tokens
) -> None:
    groups = [group(name=f"{n:063d}", count=1) for n in range(1000)]
    await refusal(edge.call("resource.make_claim", claim(*groups), tokens.red))
    listed = await edge.call("log.get_log_status", v1.GetLogStatusRequest(), tokens.admin)
    assert not listed.failure


async def test_without_capacity_the_refusal_says_why(edge: Edge, tokens: Tokens) -> None:
    await edge.call("resource.create_provider", stock(total=4), tokens.admin)
    asked = claim(group(resources={"gpu": 3}))
    refused = await refusal(edge.call("resource.make_claim", asked, tokens.red))
    assert refused.status is Status.RESOURCE_EXHAUSTED
    assert "not offer what is asked" in refused.message


async def test_a_claim_without_a_project_says_how_to_get_one(edge: Edge, tokens: Tokens) -> None:
    refused = await refusal(edge.call("resource.make_claim", claim(), tokens.admin))
    assert refused.status is Status.FAILED_PRECONDITION
    assert "--project" in refused.message


async def test_the_read_models_are_live_after_all_of_this(edge: Edge, tokens: Tokens) -> None:
    listed = await edge.call(
        "projector.list_projections", v1.ListProjectionsRequest(), tokens.admin
    )
    assert {p.name: p.status for p in listed.projections if p.status != "live"} == {}
