"""What placing a claim over regions relies on, against real services."""

import pytest

from mulligan.client import Client
from mulligan.client.placing import Placement, Unplaced, place, settle
from mulligan.client.preferring import Preference, claim_id
from mulligan.errors import FailedPrecondition
from mulligan.model import new_id
from mulligan.proto import v1
from tests.e2e.region import RunningRegion
from tests.services.conftest import SECRET, Tokens

CLASS = "custom.placed"
HERE = Preference(regions=("e2e",), order="most-free")


@pytest.fixture(scope="module")
async def rita(region: RunningRegion, tokens: Tokens) -> Client:
    """A tenant of a region with one place for what these tests claim."""
    await region.client().resource.create_provider(
        v1.CreateProviderRequest(
            name="placed-here",
            type="compute",
            inventories=[v1.Inventory(resource_class=CLASS, total=1)],
        )
    )
    return region.client("rita", SECRET, "red", patience=30)


def wish() -> v1.MakeClaimRequest:
    group = v1.RequestGroup(resources={CLASS: 1})
    return v1.MakeClaimRequest(request_id=new_id(), request=v1.ResourceRequest(groups=[group]))


async def state(client: Client, claim: str) -> v1.ClaimState:
    found = (await client.resource.get_claim(v1.GetClaimRequest(claim=claim))).claim
    assert found is not None
    return found.state


async def test_a_placement_that_is_asked_for_again_is_the_same(rita: Client) -> None:
    asked = wish()
    first = await place(rita.regions, asked, HERE)
    assert first.claim.uuid == claim_id(asked.request_id, "e2e")
    assert (await place(rita.regions, asked, HERE)).claim.uuid == first.claim.uuid
    with pytest.raises(Unplaced, match="e2e: "):
        await place(rita.regions, wish(), HERE)
    await rita.resource.release_claim(v1.ReleaseClaimRequest(claim=first.claim.uuid))
    with pytest.raises(FailedPrecondition, match="has ended"):
        await place(rita.regions, asked, HERE)


async def test_what_is_settled_is_free_and_a_late_copy_takes_nothing(rita: Client) -> None:
    asked = wish()
    doubtful = Placement(
        request_id=asked.request_id, region="far", claim=v1.Claim(), in_doubt=("e2e",)
    )
    assert (await settle(rita.regions, doubtful, asked)).in_doubt == ()
    late = claim_id(asked.request_id, "e2e")
    copy = v1.MakeClaimRequest(request_id=late, request=asked.request)
    answer = (await rita.resource.make_claim(copy)).claim
    assert answer is not None and answer.uuid == late
    assert await state(rita, late) is v1.ClaimState.RELEASED
    placed = await place(rita.regions, wish(), HERE)
    assert (await settle(rita.regions, doubtful, asked)).in_doubt == (), "nor does it ask again"
    await rita.resource.release_claim(v1.ReleaseClaimRequest(claim=placed.claim.uuid))
