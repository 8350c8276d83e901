"""The read models as the command runner sees them: states of streams, and earlier commits."""

from collections.abc import Iterable, Mapping

from mulligan.commands.runner import EarlierCommit
from mulligan.commands.states import Loaded
from mulligan.model import CommitId, Seq, StreamId
from mulligan.queries import commands as queries
from mulligan.queries import states
from mulligan.queries.database import Database


class ReadModels:
    """``StateSource`` and ``CommitIndex`` on Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, streams: Iterable[StreamId]) -> Mapping[StreamId, Loaded]:
        """Return the state of every stream at its read model's checkpoint."""
        return await states.load(self._database, streams)

    async def find_commit(self, commit: CommitId) -> tuple[EarlierCommit | None, Seq]:
        """Return a commit that the read model of commands has, and how far that is folded."""
        return await queries.find_commit(self._database, commit)
