"""Where everything of a region lies in etcd."""

from mulligan.model import RegionName, Seq


class Keys:
    """The keys of one region, all under ``/mulligan/<region>/``."""

    def __init__(self, region: RegionName) -> None:
        self.prefix = f"/mulligan/{region}/"
        self.identity = self.prefix + "identity"
        self.head = self.prefix + "head"
        self.log = self.prefix + "log/"
        self.archive = self.prefix + "archive/"
        self.format = self.prefix + "format"
        self.secret = self.prefix + "secret/"
        self.backup = self.prefix + "backup/"

    def entry(self, seq: int) -> str:
        """The key of a log entry; keys sort as their numbers do."""
        return f"{self.log}{seq:016x}"

    def seq(self, key: str) -> Seq:
        """The number in an entry's key."""
        return Seq(int(key[len(self.log) :], 16))

    def segment(self, first: Seq) -> str:
        """The key of the manifest of the archived segment that begins at ``first``."""
        return f"{self.archive}{first:016x}"

    def lease(self, name: str) -> str:
        """The key of a lease, such as ``machine-shard/3``."""
        return f"{self.prefix}lease/{name}"

    def service(self, name: str, instance: str = "") -> str:
        """The key of a registered service instance, or the prefix of all of them."""
        return f"{self.prefix}lease/service/{name}/{instance}"
