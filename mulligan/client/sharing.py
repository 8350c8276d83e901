"""Objects that several regions share: a saga that makes them alike, region by region.

An object keeps its UUID wherever it goes, as the id of a request is that of what it makes. So
whatever was pushed is found again, a push that broke off is run again, and no region waits for
another one.
"""

import enum
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from mulligan.client.paging import every
from mulligan.client.regions import DEADLINE_S, MOST, Regions
from mulligan.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidArgument,
    MulliganError,
    NotFound,
    Unavailable,
)
from mulligan.proto.v1 import (
    CreateImageRequest,
    CreateMetadefRequest,
    GetImageRequest,
    GetMetadefRequest,
    Image,
    ListImagesRequest,
    ListMetadefsRequest,
    Metadef,
    UpdateMetadefRequest,
)

if TYPE_CHECKING:
    from mulligan.client.client import Client

Shared = Image | Metadef
"""What can be pushed."""

_FIELDS: dict[type[Any], tuple[str, ...]] = {
    Image: ("name", "url", "sha256", "kind", "firmware", "ready_when"),
    Metadef: (
        "name",
        "description",
        "schema",
        "kinds",
        "read_roles",
        "write_roles",
        "protected",
    ),
}
"""What makes two objects the same, beside their UUID."""
_SETS = ("kinds", "read_roles", "write_roles")
AWAY = (Unavailable, DeadlineExceeded)
"""After these no more is asked of a region."""
_KEPT = ("name",)
"""What an update cannot change."""


class Verdict(enum.StrEnum):
    """What became of an object in a region."""

    MADE = "made"
    SAME = "same"
    DIFFERS = "differs"
    REPLACED = "replaced"
    FAILED = "failed"


class Pushed(NamedTuple):
    """One line of the report. ``differences`` names the fields that are otherwise there.

    ``uuid`` among them means that the region made an object of this name by itself.
    """

    region: str
    kind: str
    name: str
    verdict: Verdict
    differences: tuple[str, ...] = ()
    error: MulliganError | None = None


async def images(client: "Client", refs: Iterable[str] = ()) -> Sequence[Image]:
    """Return images by name or UUID, or all of them; raise NotFound for an unknown one."""
    wanted = list(refs)
    if not wanted:
        pages = every(client.control.list_images, ListImagesRequest(), lambda page: page.images)
        return [image async for image in pages]
    found = [await client.control.get_image(GetImageRequest(image=ref)) for ref in wanted]
    return [answer.image for answer in found if answer.image is not None]


async def metadefs(client: "Client", refs: Iterable[str] = ()) -> Sequence[Metadef]:
    """Return metadefs by name or UUID, or all of them; raise NotFound for an unknown one."""
    wanted = list(refs)
    if not wanted:
        pages = every(client.meta.list_metadefs, ListMetadefsRequest(), lambda page: page.metadefs)
        return [metadef async for metadef in pages]
    found = [await client.meta.get_metadef(GetMetadefRequest(metadef=ref)) for ref in wanted]
    return [answer.metadef for answer in found if answer.metadef is not None]


async def push(
    regions: Regions,
    objects: Sequence[Shared],
    targets: Sequence[str],
    *,
    replace: bool = False,
    deadline_s: float = DEADLINE_S,
) -> Sequence[Pushed]:
    """Make objects be in the target regions as they are; return what became of each, in order.

    What is not there is made under its UUID. What is there is compared and left alone, unless
    ``replace`` is set and it may be updated: metadefs may, images never. An object of the same name
    under another UUID is compared too. A region has ``deadline_s`` seconds for each object; once it
    is away, all that is left for it fails, and nothing of the others does. Run it again for what
    failed. A ``file:`` image is a record: the file itself must be in each region's image folder.
    """
    if len(set(targets)) > MOST:
        raise InvalidArgument("regions", f"{len(targets)} are too many; push to {MOST} at a time")
    report: dict[str, list[Pushed]] = {name: [] for name in targets}

    async def fill(region: str) -> None:
        late: MulliganError | None = None
        for one in objects:
            pushed = await _push_one(regions, region, one, replace, deadline_s, late)
            late = pushed.error if isinstance(pushed.error, AWAY) else None
            report[region].append(pushed)

    async with anyio.create_task_group() as tasks:
        for region in report:
            tasks.start_soon(fill, region)
    return [pushed for lines in report.values() for pushed in lines]


async def _push_one(
    regions: Regions,
    region: str,
    one: Shared,
    replace: bool,
    deadline_s: float,
    late: MulliganError | None,
) -> Pushed:
    line = partial(Pushed, region, kind_of(one), one.name)
    if late is not None:
        return line(Verdict.FAILED, error=late)
    (outcome,) = await regions.each([region], partial(_settle, one, replace), deadline_s)
    if outcome.error is not None or outcome.value is None:
        return line(Verdict.FAILED, error=outcome.error)
    verdict, differing = outcome.value
    return line(verdict, differing)


async def _settle(one: Shared, replace: bool, client: "Client") -> tuple[Verdict, tuple[str, ...]]:
    there = await _found(client, one)
    if there is None:
        try:
            await _make(client, one)
        except AlreadyExists:
            there = await _found(client, one)  # another push was faster, or the name is taken
            if there is None:
                raise
        else:
            return Verdict.MADE, ()
    differing = differences(one, there)
    content = tuple(field for field in differing if field != "uuid")
    if not content:
        return Verdict.SAME, differing
    if not replace or not isinstance(one, Metadef) or set(content) & set(_KEPT):
        return Verdict.DIFFERS, differing
    assert isinstance(there, Metadef)
    await client.meta.update_metadef(
        UpdateMetadefRequest(
            metadef=there.uuid,
            etag=there.etag,
            update_mask=list(content),
            **{field: getattr(one, field) for field in content},
        )
    )
    return Verdict.REPLACED, differing


def kind_of(one: Shared) -> str:
    """Return ``image`` or ``metadef``."""
    return type(one).__name__.lower()


def differences(one: Shared, other: Shared) -> tuple[str, ...]:
    """Return the fields in which two objects of a kind differ; lists of names have no order."""

    def value(of: Shared, field: str) -> Any:
        held = getattr(of, field)
        return sorted(held) if field in _SETS else held

    fields = ("uuid", *_FIELDS[type(one)])
    return tuple(field for field in fields if value(one, field) != value(other, field))


async def _found(client: "Client", one: Shared) -> Shared | None:
    """Return the object of this UUID in a region, or else the one of this name."""
    for ref in (one.uuid, one.name):
        try:
            if isinstance(one, Image):
                return (await client.control.get_image(GetImageRequest(image=ref))).image
            return (await client.meta.get_metadef(GetMetadefRequest(metadef=ref))).metadef
        except NotFound:
            continue
    return None


async def _make(client: "Client", one: Shared) -> None:
    given = {field: getattr(one, field) for field in _FIELDS[type(one)]}
    if isinstance(one, Image):
        await client.control.create_image(CreateImageRequest(request_id=one.uuid, **given))
    else:
        await client.meta.create_metadef(CreateMetadefRequest(request_id=one.uuid, **given))
