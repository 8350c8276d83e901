"""Definitions of attributes, and objects by what they carry."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mulligan.errors import InvalidArgument
from mulligan.handlers.metadata import Metadata
from mulligan.handlers.metadef import Metadef
from mulligan.handlers.objects import OBJECTS, Sight, Viewer
from mulligan.handlers.values import digest
from mulligan.projections.models import STREAM_TABLES
from mulligan.queries.database import Database
from mulligan.queries.paging import (
    Filters,
    Object,
    Page,
    PageRequest,
    decode_token,
    encode_token,
    page,
    reader,
)
from mulligan.queries.states import decoder

MAX_TERMS = 16
"""Tags, and attributes, that one search takes."""
MAX_CHUNK = 2048
"""Objects that are looked at in one query."""
MAX_LOOKED = 2500
"""Objects that a call looks at before it leaves the rest to the next page."""


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
    """Return objects that the viewer may see and that carry all that is looked for.

    They come by kind, and within it by UUID, which is by age. So that a call has an end soon, a
    page may be short, even empty, and have a next one. Raise InvalidArgument for a token of
    another search.
    """
    kinds = [search.kind] if search.kind else sorted(OBJECTS)
    asked = hashlib.sha256(msgspec.json.encode((search, viewer), order="sorted")).hexdigest()[:8]
    token = _token(request.token, asked, kinds[0])
    found: list[Decorated] = []
    looked = 0
    for kind in kinds:
        if kind < token.kind or not _may_have(kind, viewer):
            continue
        after = token.after if kind == token.kind else ""
        lead = await _lead(database, kind, search, viewer, after)
        chunk = min(1 << request.size.bit_length(), MAX_CHUNK)
        while lead is not None:
            if looked > MAX_LOOKED:
                return Page(items=tuple(found), next_token=_next(kind, after, asked))
            look = await _look(database, kind, search, viewer, lead, after, chunk)
            looked += look.looked
            found += look.found
            if len(found) > request.size:
                shown = found[: request.size]
                held = shown[-1].metadata
                return Page(items=tuple(shown), next_token=_next(held.kind, held.object, asked))
            if look.looked < chunk:
                break
            after, chunk = look.last, min(chunk * 4, MAX_CHUNK)
    return Page(items=tuple(found))


def models_of(kind: str) -> tuple[str, ...]:
    """Return the read models that a search of this kind reads; an empty kind is any."""
    kinds = [kind] if kind else OBJECTS
    return tuple(sorted({"metadata", *(STREAM_TABLES[k][0].name for k in kinds)}))


class _Set(NamedTuple):
    """Objects of one kind, of which those that are found are a part: ``object`` of ``source d``."""

    source: str
    object: str
    where: str
    args: tuple[Any, ...]


class _Look(NamedTuple):
    """What was found among the ``looked`` objects, of which ``last`` is the last."""

    found: list[Decorated]
    last: str
    looked: int


def _sets(kind: str, search: Search, viewer: Viewer) -> list[_Set]:
    """Return the sets whose common objects are found; in ``where`` the arguments are {0}, {1}."""
    sets = [
        _Set("rm_metadata.tag", "d.object", f"d.kind = '{kind}' AND d.tag = {{0}}", (tag,))
        for tag in search.tags
    ]
    for metadef, value in search.attributes.items():
        where = f"d.kind = '{kind}' AND d.metadef = {{0}} AND d.digest = {{1}}"
        sets.append(_Set("rm_metadata.attribute", "d.object", where, (metadef, digest(value))))
    if not sets:
        sets.append(
            _Set("rm_metadata.metadata", "d.object", f"d.kind = '{kind}' AND d.carries", ())
        )
    model, table = STREAM_TABLES[kind]
    seen, args = _sight(kind, viewer)
    if args:
        sets.append(
            _Set(f"{model.schema}.{table.name}", "d.key", f"NOT d.deleted AND {seen}", args)
        )
    return sets


async def _lead(
    database: Database, kind: str, search: Search, viewer: Viewer, after: str
) -> _Set | None:
    """Return the smallest of the sets, which the others are looked up for; None if it is empty."""
    sets = _sets(kind, search, viewer)
    if len(sets) == 1:
        return sets[0]
    args: list[Any] = [after, MAX_CHUNK]
    counts = []
    for one in sets:
        where = _numbered(one, args)
        counts.append(
            f"(SELECT count(*) FROM (SELECT FROM {one.source} d"
            f" WHERE {where} AND {one.object} > $1 LIMIT $2) x)"
        )
    row = await database.fetchrow(f"SELECT {', '.join(counts)}", *args)
    assert row is not None, "a count always has a row"
    smallest = min(range(len(sets)), key=lambda n: int(row[n]))
    return sets[smallest] if row[smallest] else None


async def _look(
    database: Database,
    kind: str,
    search: Search,
    viewer: Viewer,
    lead: _Set,
    after: str,
    chunk: int,
) -> _Look:
    """Look at the next ``chunk`` objects of the leading set.

    Where an index has the set in order, the number is written into the statement: not knowing it,
    Postgres would sort the whole set.
    """
    args: list[Any] = [after]
    limit = str(chunk)
    if not lead.source.startswith("rm_metadata."):
        args.append(chunk)
        limit = "$2"
    leading = _numbered(lead, args)
    conditions = ["NOT o.deleted"]
    for one in _sets(kind, search, viewer):
        if one.source.startswith("rm_metadata.") and one.args:
            test = _numbered(one, args).replace("d.", "x.")
            conditions.append(f"EXISTS (SELECT FROM {one.source} x WHERE x.key = m.key AND {test})")
    seen, seen_args = _sight(kind, viewer)
    if seen_args:
        sight = _Set("", "", seen, seen_args)
        conditions.append(_numbered(sight, args).replace("d.", "o."))
    model, table = STREAM_TABLES[kind]
    project = "o.project" if _HAS_PROJECT[kind] else "''"
    rows = await database.fetch(
        f"WITH c AS MATERIALIZED (SELECT {lead.object} AS object FROM {lead.source} d"
        f" WHERE {leading} AND {lead.object} > $1 ORDER BY {lead.object} LIMIT {limit})"
        " SELECT l.looked, l.last, f.state, f.version, f.project"
        " FROM (SELECT count(*) AS looked, max(object) AS last FROM c) l LEFT JOIN ("
        f"SELECT c.object, m.state, m.version, {project} AS project FROM c"
        f" JOIN rm_metadata.metadata m ON m.key = '{kind}/' || c.object"
        f" JOIN {model.schema}.{table.name} o ON o.key = c.object"
        f" WHERE {' AND '.join(conditions)}) f ON true ORDER BY f.object",
        *args,
    )
    read = decoder(Metadata)
    found = [
        Decorated(metadata=read(row["state"]), version=row["version"], project=row["project"])
        for row in rows
        if row["state"] is not None
    ]
    return _Look(found, rows[0]["last"] or "", rows[0]["looked"])


def _numbered(one: _Set, args: list[Any]) -> str:
    """Add a set's arguments to ``args`` and return its condition with their numbers."""
    first = len(args) + 1
    args += one.args
    return one.where.format(*(f"${first + n}" for n in range(len(one.args))))


_HAS_PROJECT: Mapping[str, bool] = {
    kind: any(column.name == "project" for column in STREAM_TABLES[kind][1].columns)
    for kind in OBJECTS
}


def _may_have(kind: str, viewer: Viewer) -> bool:
    return viewer.is_system or OBJECTS[kind].sight not in {Sight.HELD, Sight.NOBODY}


def _sight(kind: str, viewer: Viewer) -> tuple[str, tuple[Any, ...]]:
    """Return the condition on what the viewer sees, and its arguments; none when it sees all."""
    if viewer.is_system:
        return "true", ()
    match OBJECTS[kind].sight:
        case Sight.EVERYONE:
            return "true", ()
        case Sight.SHARED:
            return "d.project = ANY({0}::text[])", (["", viewer.project],)
        case Sight.PROJECT:
            return "d.project = {0} AND d.project <> ''", (viewer.project,)
        case Sight.ITSELF:
            return "d.key = ANY({0}::text[])", ([viewer.account, viewer.project],)
        case Sight.HELD | Sight.NOBODY:
            return "false", ()


def _next(kind: str, after: str, asked: str) -> str:
    return encode_token(_Token(kind, after, asked))


def _token(text: str, asked: str, first: str) -> _Token:
    if not text:
        return _Token(first, "", asked)
    token = decode_token(text, _Token)
    if token.query != asked:
        raise InvalidArgument("page.token", "the token belongs to another search")
    return token
