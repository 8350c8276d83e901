"""Read model ``iam``: accounts and the roles they hold, projects, signing keys."""

from collections.abc import Iterable

from mulligan.handlers.account import Account, Project, SigningKey
from mulligan.projections.schema import ChildTable, ReadModel, Row, columns, stream_table


def _account(key: str, account: Account) -> Row:
    return (account.kind, account.name, account.disabled_at is not None, account.owner)


def _bindings(key: str, account: Account) -> Iterable[Row]:
    return [(key, binding.role, binding.project) for binding in account.bindings]


def _project(key: str, project: Project) -> Row:
    return (project.name, project.parent)


def _key(key: str, signing: SigningKey) -> Row:
    return (signing.honoured_until,)


MODEL = ReadModel(
    name="iam",
    version=2,
    tables=(
        stream_table(
            "account",
            "account",
            columns(kind="text", name="text", disabled="boolean", owner="text"),
            _account,
            indices=("(owner, created_seq, key) WHERE owner <> ''",),
            children=(
                ChildTable(
                    name="role_binding",
                    columns=columns(account="text", role="text", project="text"),
                    key=3,
                    rows=_bindings,
                    indices=("(project)",),
                ),
            ),
        ),
        stream_table(
            "project",
            "project",
            columns(name="text", parent="text"),
            _project,
            indices=("(parent, created_seq, key)",),
        ),
        stream_table("signing_key", "key", columns(honoured_until="timestamptz"), _key),
    ),
)
