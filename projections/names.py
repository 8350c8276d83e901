"""Read model ``names``: who is called what, both ways."""

from mulligan.handlers.names import NameState
from mulligan.projections.schema import ReadModel, Row, columns, stream_table


def _name(key: str, name: NameState) -> Row:
    return (name.kind, name.scope, name.slug, name.object)


MODEL = ReadModel(
    name="names",
    tables=(
        stream_table(
            "name",
            "name",
            columns(kind="text", scope="text", slug="text", object="text"),
            _name,
            indices=(
                "(object) WHERE object <> ''",
                "(kind, scope, created_seq, key) WHERE object <> ''",
            ),
        ),
    ),
)
