"""``mulligan claim reshape``: other inventories and other allocations, in one commit."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.fleet import Inventories, Located, Strict
from mulligan.cli.verbs import Session, verb
from mulligan.cli.yamlfile import Document, read_documents
from mulligan.errors import InvalidArgument
from mulligan.quantities import parse_amount

if TYPE_CHECKING:
    from mulligan.proto.v1 import ReshapedClaim, ReshapedProvider, ReshapeRequest

app = typer.Typer(rich_markup_mode=None)


class AllocationSpec(Strict, frozen=True):
    """What a claim holds at one provider afterwards."""

    provider: str
    amounts: dict[str, int | str]
    group: str = ""


class Reshape(Strict, frozen=True):
    """Inventories by provider and allocations by claim: all that each of them has afterwards."""

    providers: dict[str, Inventories] = {}
    claims: dict[str, list[AllocationSpec]] = {}


@verb(app, "reshape")
async def reshape(
    session: Session,
    file: Annotated[
        str, typer.Option("--file", "-f", help="What becomes of what, in YAML; - reads stdin.")
    ],
) -> None:
    """Replace inventories of providers and allocations of claims, all or nothing."""
    request = read_reshape(file)
    answer = await session.client.resource.reshape(request)
    if not session.out.for_people:
        session.out.one(answer, ())
    session.out.note(f"reshaped {len(request.providers)} providers, {len(request.claims)} claims")


def read_reshape(source: str) -> "ReshapeRequest":
    """Read a reshape file; raise InvalidArgument naming the line and key of what is wrong."""
    from mulligan.proto.v1 import ReshapeRequest

    documents = list(read_documents(source, Reshape))
    if len(documents) != 1:
        raise InvalidArgument(source, f"holds {len(documents)} documents; a reshape is one")
    (document,) = documents
    if not document.value.providers and not document.value.claims:
        raise InvalidArgument(source, "names neither providers nor claims")
    return ReshapeRequest(providers=list(_providers(document)), claims=list(_claims(document)))


def _providers(document: Document[Reshape]) -> "Iterator[ReshapedProvider]":
    from mulligan.cli.fleet_provider import make_inventories
    from mulligan.proto.v1 import ReshapedProvider

    for name, inventories in document.value.providers.items():
        place = Located(document, ("providers", name))
        yield ReshapedProvider(
            provider=name, inventories=list(make_inventories(inventories, place, ()))
        )


def _claims(document: Document[Reshape]) -> "Iterator[ReshapedClaim]":
    from mulligan.proto.v1 import Allocation, ReshapedClaim

    for name, allocations in document.value.claims.items():
        if not allocations:
            where = document.where("claims", name)
            raise InvalidArgument(where, "is left nothing; release the claim instead")
        yield ReshapedClaim(
            claim=name,
            allocations=[
                Allocation(
                    provider=one.provider,
                    group=one.group,
                    amounts={
                        key: parse_amount(
                            amount, document.where("claims", name, number, "amounts", key)
                        )
                        for key, amount in one.amounts.items()
                    },
                )
                for number, one in enumerate(allocations)
            ],
        )
