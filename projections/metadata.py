"""Read model ``metadata``: definitions of attributes, and what objects carry."""

from collections.abc import Iterable

from mulligan.handlers.metadata import Metadata
from mulligan.handlers.metadef import Metadef
from mulligan.handlers.values import digest
from mulligan.projections.schema import ChildTable, ReadModel, Row, columns, stream_table


def _metadef(key: str, metadef: Metadef) -> Row:
    return (metadef.name, metadef.project)


def _metadata(key: str, metadata: Metadata) -> Row:
    return (metadata.kind, metadata.object, bool(metadata.tags or metadata.values))


def _tags(key: str, metadata: Metadata) -> Iterable[Row]:
    return [(key, tag, metadata.kind, metadata.object) for tag in metadata.tags]


def _attributes(key: str, metadata: Metadata) -> Iterable[Row]:
    return [
        (key, metadef, metadata.kind, metadata.object, digest(value))
        for metadef, value in metadata.values.items()
    ]


MODEL = ReadModel(
    name="metadata",
    tables=(
        stream_table(
            "metadef",
            "metadef",
            columns(name="text", project="text"),
            _metadef,
            indices=("(project, created_seq, key)",),
        ),
        stream_table(
            "metadata",
            "metadata",
            columns(kind="text", object="text", carries="boolean"),
            _metadata,
            children=(
                ChildTable(
                    name="tag",
                    columns=columns(key="text", tag="text", kind="text", object="text"),
                    key=2,
                    rows=_tags,
                    indices=("(tag, kind, object)",),
                ),
                ChildTable(
                    name="attribute",
                    columns=columns(
                        key="text", metadef="text", kind="text", object="text", digest="text"
                    ),
                    key=2,
                    rows=_attributes,
                    indices=("(metadef, digest, kind, object)",),
                ),
            ),
            indices=("(kind, object) WHERE carries",),
        ),
    ),
)
