"""Read model ``metadata``: definitions of attributes, and what objects carry."""

from mulligan.handlers.metadata import Metadata
from mulligan.handlers.metadef import Metadef
from mulligan.projections.schema import ReadModel, Row, columns, stream_table


def _metadef(key: str, metadef: Metadef) -> Row:
    return (metadef.name, metadef.project)


def _metadata(key: str, metadata: Metadata) -> Row:
    return (metadata.kind,)


MODEL = ReadModel(
    name="metadata",
    tables=(
        stream_table(
            "metadef",
            "metadef",
            columns(name="text", project="text"),
            _metadef,
        ),
        stream_table("metadata", "metadata", columns(kind="text"), _metadata),
    ),
)
