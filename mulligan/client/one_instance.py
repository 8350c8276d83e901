"""A directory of one address: for what must be asked of one instance and of no other."""

from mulligan.client.channels import Channels
from mulligan.client.directory import Directory


class OneInstance(Directory):
    """Leads every call to one address, whatever service it is of."""

    def __init__(self, address: str, channels: Channels, region: str) -> None:
        super().__init__([address], channels, region)
        self._address = address

    async def pick(self, service: str) -> str:
        """Return the address."""
        return self._address

    def failed(self, address: str) -> None:
        """Stay with it: there is no other."""

    def has_healthy(self, service: str) -> bool:
        """Tell that there is no other to go to at once."""
        return False
