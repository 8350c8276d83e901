"""All read models of the product."""

from collections.abc import Iterable, Mapping

from mulligan.errors import NotFound
from mulligan.projections import (
    actions,
    audit,
    claims,
    commands,
    iam,
    images,
    machines,
    metadata,
    names,
    providers,
    regions,
    trail,
)
from mulligan.projections.schema import ReadModel, StateTable

_MODULES = (
    actions, audit, claims, commands, iam, images, machines, metadata, names, providers, regions,
    trail,
)  # fmt: skip

READ_MODELS: tuple[ReadModel, ...] = tuple(module.MODEL for module in _MODULES)

STREAM_TABLES: Mapping[str, tuple[ReadModel, StateTable]] = {
    table.kind: (model, table)
    for model in READ_MODELS
    for table in model.tables
    if table.key is None
}
"""Where the folded state of each stream kind is kept."""


def named(names: Iterable[str], models: Iterable[ReadModel]) -> tuple[ReadModel, ...]:
    """Return the read models of these names, all for none; raise NotFound for an unknown one."""
    known = {model.name: model for model in models}
    for name in names:
        if name not in known:
            raise NotFound("read model", name)
    return tuple(known[name] for name in dict.fromkeys(names)) or tuple(known.values())
