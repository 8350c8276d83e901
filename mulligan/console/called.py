"""What objects and accounts are called, as far as the console has asked."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

from mulligan.errors import MulliganError, PermissionDenied
from mulligan.model import is_uuid

KEPT = 20_000
"""Names held; those asked for longest ago give way."""
AT_ONCE = 500
"""UUIDs in one question."""


class Called(Mapping[str, str]):
    """Names by UUID; what is not known yet is not in it. ``ask`` brings what is missing."""

    def __init__(self, ask: Callable[[list[str]], Awaitable[Mapping[str, str]]]) -> None:
        self._ask = ask
        self._names: OrderedDict[str, str] = OrderedDict()

    def __getitem__(self, uuid: str) -> str:
        name = self._names[uuid]
        if not name:
            raise KeyError(uuid)
        return name

    def __iter__(self) -> Iterator[str]:
        return (uuid for uuid, name in self._names.items() if name)

    def __len__(self) -> int:
        return sum(1 for name in self._names.values() if name)

    def get(self, uuid: str, default: str = "") -> str:  # type: ignore[override]
        """Return what a UUID is called, or ``default``."""
        return self._names.get(uuid) or default

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the UUIDs among ``keys`` that were not asked for yet, each once."""
        return [key for key in dict.fromkeys(keys) if key not in self._names and is_uuid(key)]

    async def learn(self, keys: Iterable[str]) -> bool:
        """Ask for what is missing; tell whether anything was learnt. Errors are no news."""
        wanted = self.missing(keys)[:AT_ONCE]
        if not wanted:
            return False
        found: Mapping[str, str]
        try:
            found = await self._ask(wanted)
        except PermissionDenied:
            found = {}  # and not each time anew
        except MulliganError:
            return False
        self.note({uuid: found.get(uuid, "") for uuid in wanted})
        return bool(found)

    def note(self, names: Mapping[str, str]) -> None:
        """Keep names that came along with something else."""
        self._names.update(names)
        while len(self._names) > KEPT:
            self._names.popitem(last=False)

    def stream(self, stream: str) -> str:
        """Return a stream as people call it: ``machine/node-1``."""
        kind, slash, key = stream.partition("/")
        return f"{kind}{slash}{self.get(key, key)}"
