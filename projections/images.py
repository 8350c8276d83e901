"""Read model ``images``: bootable images, user data, and references to BMC credentials."""

from mulligan.handlers.credential import Credential
from mulligan.handlers.userdata import UserData
from mulligan.projections.schema import ReadModel, Row, columns, stream_table


def _user_data(key: str, data: UserData) -> Row:
    return (data.project,)


def _credential(key: str, credential: Credential) -> Row:
    return (bool(credential.goal) and not credential.deleted,)


MODEL = ReadModel(
    name="images",
    tables=(
        stream_table("image", "image"),
        stream_table(
            "credential",
            "credential",
            columns(rotating="boolean"),
            _credential,
            indices=("(key) WHERE rotating",),
        ),
        stream_table(
            "userdata",
            "userdata",
            columns(project="text"),
            _user_data,
            indices=("(project, created_seq, key)",),
        ),
    ),
)
