"""mulligan-archiver: the log's older entries, sealed outside of etcd."""

from mulligan.proto import v1
from mulligan.services.configure import configure
from mulligan.services.runtime import Runtime


class Archiver(v1.ArchiverBase):
    """``mulligan.v1.Archiver``."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    async def archiver_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return configure(message, self._rt.limits)
