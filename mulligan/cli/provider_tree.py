"""``mulligan provider tree``: what stands under what."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.output import Format
from mulligan.cli.verbs import Session, verb
from mulligan.errors import NotFound
from mulligan.quantities import format_amount

if TYPE_CHECKING:
    from mulligan.proto.v1 import Provider

app = typer.Typer(rich_markup_mode=None)

Children = Mapping[str, "Sequence[Provider]"]
"""Providers by the UUID of what they stand under, in the order of their names."""


@verb(app, "tree", reads=True)
async def show_tree(
    session: Session,
    provider: Annotated[
        str, typer.Argument(metavar="PROVIDER", help="Only it and what is below; default: all.")
    ] = "",
) -> None:
    """Draw trees of providers."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListProvidersRequest

    resource = session.client.resource
    pages = every(resource.list_providers, ListProvidersRequest(), lambda page: page.providers)
    children = children_of([one async for one in pages])
    roots = children.get("", ())
    if provider:
        every_one = (one for siblings in children.values() for one in siblings)
        roots = [one for one in every_one if provider in (one.name, one.uuid)]
        if not roots:
            raise NotFound("provider", provider)
    if session.out.for_people:
        for line in lines_of(roots, children):
            session.out.line(line)
    elif session.out.form is Format.NAME:
        for one in below(roots, children):
            session.out.line(one.name)
    else:
        session.out.rows(list(below(roots, children)), ())


def children_of(providers: "Iterable[Provider]") -> Children:
    """Return providers by parent; those whose parent is not among them are roots, under ``""``."""
    found = sorted(providers, key=lambda one: one.name)
    known = {key for one in found for key in (one.uuid, one.name)} - {""}
    uuids = {one.name: one.uuid for one in found}
    children: dict[str, list[Provider]] = {}
    for one in found:
        own = one.parent in (one.uuid, one.name)
        parent = one.parent if one.parent in known and not own else ""
        children.setdefault(uuids.get(parent, parent), []).append(one)
    return children


def below(roots: "Iterable[Provider]", children: Children) -> "Iterator[Provider]":
    """Yield the roots and all below them, parents first."""
    for one in roots:
        yield one
        yield from below(children.get(one.uuid, ()), children)


def lines_of(roots: "Sequence[Provider]", children: Children) -> Iterator[str]:
    """Yield the drawing of trees, line by line."""
    for root in roots:
        yield described(root)
        yield from _branches(root, children, "")


def _branches(parent: "Provider", children: Children, indent: str) -> Iterator[str]:
    twigs = children.get(parent.uuid, ())
    for number, one in enumerate(twigs, start=1):
        last = number == len(twigs)
        yield f"{indent}{'└─' if last else '├─'} {described(one)}"
        yield from _branches(one, children, f"{indent}{'   ' if last else '│  '}")


def described(provider: "Provider") -> str:
    """Return a provider on a line: its name, type, what it offers, and what keeps claims away."""
    offers = [
        f"{one.resource_class}={format_amount(one.resource_class, one.used)}"
        f"/{format_amount(one.resource_class, one.capacity)}"
        for one in provider.inventories
    ]
    shared = ["shared"] if provider.shares else []
    cordons = [f"cordoned ({','.join(one.cause for one in provider.cordons)})"]
    return "  ".join(
        [provider.name, provider.type, *offers, *shared, *(cordons if provider.cordons else [])]
    )
