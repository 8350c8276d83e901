"""A read model that halts on a region at work: what status says of it, and that its word helps."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mulligan.model import new_id
from mulligan.projections.postgres import Connection, connected
from mulligan.proto import v1
from tests.e2e.region import RunningRegion, until
from tests.services.edge import Edge


@pytest.fixture
async def postgres(region: RunningRegion) -> AsyncIterator[Connection]:
    """A connection to the read models, as somebody has who should not touch them."""
    async with connected(region.config.postgres.dsn) as connection:
        yield connection


async def told(region: RunningRegion) -> dict[str, dict[str, str]]:
    """Return the problems of status, by what they are about."""
    said: dict[str, Any] = json.loads((await region.cli("status", "-o", "json")).stdout)
    return {one["subject"]: one for one in said["problems"]}


async def new_image(edge: Edge, token: str) -> v1.ImageResponse:
    request = v1.CreateImageRequest(
        name=f"i-{new_id()[-12:]}", url="https://images.example/a.iso", sha256="a" * 64
    )
    made: v1.ImageResponse = await edge.call("control.create_image", request, token)
    return made


def seq_of(answer: Any) -> int:
    """Return the entry of the commit that an answer is of."""
    position: v1.Position = answer.position
    return position.seq


async def test_a_halted_read_model_is_told_with_its_entry_and_goes_on_by_what_is_said(
    region: RunningRegion, edge: Edge, postgres: Connection
) -> None:
    admin = await edge.admin()

    async def halted() -> bool:
        return "images" in await told(region)

    damage = "ALTER TABLE rm_images.image ADD CONSTRAINT by_hand CHECK (false) NOT VALID"
    await postgres.execute(damage)
    try:
        at = seq_of(await new_image(edge, admin))
        await until(halted, "status tells of it")
        problem = (await told(region))["images"]
        assert problem["severity"] == "critical"
        assert f"it halted after entry {at - 1}: entry {at}: " in problem["what"]
        assert "by_hand" in problem["what"]
        assert "mulligan projection retry images" in problem["next"]
        refused = await region.cli("projection", "retry", "images")
        assert "halted again" in refused.stderr
        assert refused.returncode != 0
    finally:
        await postgres.execute("ALTER TABLE rm_images.image DROP CONSTRAINT by_hand")
    again = await region.cli("projection", "retry", "images")
    assert again.returncode == 0, again.stderr
    assert not await halted()


async def test_a_read_model_of_damaged_rows_halts_alone_and_is_mended_by_a_rebuild(
    region: RunningRegion, edge: Edge, postgres: Connection
) -> None:
    admin = await edge.admin()
    made = (await new_image(edge, admin)).image
    assert made is not None
    image = made.uuid

    async def folded() -> bool:
        query = "SELECT 1 FROM rm_images.image WHERE key = $1"
        return bool(await postgres.fetchval(query, image))

    async def halted() -> bool:
        return "images" in await told(region)

    async def well() -> bool:
        return not await halted()

    await until(folded, "the image is in its table")
    await postgres.execute("UPDATE rm_images.image SET state = '[]' WHERE key = $1", image)
    gone = v1.DeleteImageRequest(image=image)
    answer = await edge.call("control.delete_image", gone, admin)
    await until(halted, "status tells of it")
    found = await told(region)
    at = seq_of(answer)
    assert f"it halted after entry {at - 1}: " in found["images"]["what"]
    assert image in found["images"]["what"]
    assert "mulligan rebuild images" in found["images"]["next"]
    assert set(found) == {"images"}, "the others go on"
    rebuilt = await region.cli("rebuild", "images")
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    await until(well, "it is well again")
