"""Definitions of attributes, and objects by what they carry."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mulligan.errors import InvalidArgument
from mulligan.handlers.metadata import Metadata
from mulligan.handlers.metadef import Metadef
from mulligan.handlers.objects import OBJECTS, Sight, Viewer
from mulligan.handlers.values import digest
from mulligan.projections.models import STREAM_TABLES
from mulligan.queries.database import Database
from mulligan.queries.paging import Filters, Object, Page, PageRequest, page, reader
from mulligan.queries.states import decoder

MAX_TERMS = 16
"""Tags, and attributes, that one search takes."""


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for: all of the tags, and attributes (by UUID) equal to plain values.

    An empty kind is any.
    """

    kind: str = ""
    tags: tuple[str, ...] = ()
    attributes: dict[str, Any] = {}


class Decorated(msgspec.Struct, frozen=True, kw_only=True):
    """What an object carries; ``project`` is the one it belongs to now, empty for the region."""

    metadata: Metadata
    version: int
    project: str


class _Token(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    after: str
    query: str


async def list_metadefs(
    database: Database, request: PageRequest, viewer: Viewer
) -> Page[Object[Metadef]]:
    """List the definitions that the viewer may see, by age."""
    filters = Filters("NOT t.deleted")
    if not viewer.is_system:
        filters.add("t.project = ANY($$::text[])", ["", viewer.project])
    return await page(database, filters.listing("rm_metadata.metadef"), request, reader(Metadef))


async def find_objects(
    database: Database, search: Search, viewer: Viewer, request: PageRequest
) -> Page[Decorated]:
    """Return the objects that the viewer may see and that carry all that is looked for.

    They come by kind, and within it by UUID, which is by age. Raise InvalidArgument for a token of
    another search.
    """
    kinds = [search.kind] if search.kind else sorted(OBJECTS)
    asked = hashlib.sha256(msgspec.json.encode((search, viewer), order="sorted")).hexdigest()[:8]
    token = _token(request.token, asked, kinds[0])
    found: list[Decorated] = []
    for kind in kinds:
        if kind < token.kind or not _may_have(kind, viewer):
            continue
        after = token.after if kind == token.kind else ""
        left = request.size + 1 - len(found)
        found += await _of_kind(database, kind, search, viewer, after, left)
        if len(found) > request.size:
            break
    shown = found[: request.size]
    more = ""
    if len(found) > request.size:
        last = shown[-1].metadata
        next_ = _Token(last.kind, last.object, asked)
        more = base64.urlsafe_b64encode(msgspec.json.encode(next_)).decode()
    return Page(items=tuple(shown), next_token=more)


def models_of(kind: str) -> tuple[str, ...]:
    """Return the read models that a search of this kind reads; an empty kind is any."""
    kinds = [kind] if kind else OBJECTS
    return tuple(sorted({"metadata", *(STREAM_TABLES[k][0].name for k in kinds)}))


async def _of_kind(
    database: Database, kind: str, search: Search, viewer: Viewer, after: str, limit: int
) -> Sequence[Decorated]:
    args: list[Any] = [kind, after, limit]
    conditions = ["d.kind = $1", "d.object > $2", "NOT o.deleted"]
    source = _source(search, conditions, args)
    seen, project = _sight(kind, viewer, args)
    model, table = STREAM_TABLES[kind]
    where = " AND ".join([*conditions, *seen])
    rows = await database.fetch(
        f"SELECT m.state, m.version, {project} AS project FROM {source} d"
        f" JOIN rm_metadata.metadata m ON m.key = d.key"
        f" JOIN {model.schema}.{table.name} o ON o.key = d.object"
        f" WHERE {where} ORDER BY d.object LIMIT $3",
        *args,
    )
    read = decoder(Metadata)
    return [
        Decorated(metadata=read(row["state"]), version=row["version"], project=row["project"])
        for row in rows
    ]


def _source(search: Search, conditions: list[str], args: list[Any]) -> str:
    """Return the table whose index leads the search; the other terms are looked up in its rows."""
    source = ""
    terms: list[tuple[str, ...]] = [("tag", "tag", tag) for tag in search.tags]
    for metadef, value in search.attributes.items():
        terms.append(("attribute", "metadef", metadef, "digest", digest(value)))
    for table, *pairs in terms:
        tests = []
        for column, wanted in zip(pairs[::2], pairs[1::2], strict=True):
            args.append(wanted)
            tests.append(f"{{row}}.{column} = ${len(args)}")
        test = " AND ".join(tests)
        if not source:
            source = f"rm_metadata.{table}"
            conditions.append(test.format(row="d"))
        else:
            test = test.format(row="x")
            conditions.append(
                f"EXISTS (SELECT FROM rm_metadata.{table} x WHERE x.key = d.key AND {test})"
            )
    if not source:
        conditions.append("d.carries")
    return source or "rm_metadata.metadata"


_HAS_PROJECT: Mapping[str, bool] = {
    kind: any(column.name == "project" for column in STREAM_TABLES[kind][1].columns)
    for kind in OBJECTS
}


def _may_have(kind: str, viewer: Viewer) -> bool:
    return viewer.is_system or OBJECTS[kind].sight is not Sight.NOBODY


def _sight(kind: str, viewer: Viewer, args: list[Any]) -> tuple[list[str], str]:
    """Return the conditions on what the viewer sees, and where the object's project is."""
    project = "o.project" if _HAS_PROJECT[kind] else "''"
    if viewer.is_system:
        return [], project
    match OBJECTS[kind].sight:
        case Sight.EVERYONE:
            return [], project
        case Sight.SHARED:
            args.append(["", viewer.project])
            return [f"o.project = ANY(${len(args)}::text[])"], project
        case Sight.PROJECT:
            args.append(viewer.project)
            return [f"o.project = ${len(args)} AND o.project <> ''"], project
        case Sight.ITSELF:
            args.append([viewer.account, viewer.project])
            return [f"o.key = ANY(${len(args)}::text[])"], project
        case Sight.NOBODY:
            return ["false"], project


def _token(text: str, asked: str, first: str) -> _Token:
    if not text:
        return _Token(first, "", asked)
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(text), type=_Token)
    except (ValueError, msgspec.MsgspecError) as error:
        raise InvalidArgument("page.token", "this is no page token; leave it empty") from error
    if token.query != asked:
        raise InvalidArgument("page.token", "the token belongs to another search")
    return token
