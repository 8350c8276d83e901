"""What the executor is measured against: the ``redfish`` library in a loop, and nothing else."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from redfish.rest.v1 import HttpClient

from benchmarks._bmc import PASSWORD, USER, SimulatedBmcs, system_id


class BareLoops:
    """One logged-in client of the library for each machine, in so many threads."""

    def __init__(self, bmcs: SimulatedBmcs, threads: int) -> None:
        self._bmcs = bmcs
        self._pool = ThreadPoolExecutor(threads)
        self._clients = list(self._pool.map(self._client, range(bmcs.systems)))

    def _client(self, number: int) -> HttpClient:
        client = HttpClient(
            self._bmcs.address(number), USER, PASSWORD, max_retry=0, check_connectivity=False
        )
        client.login(auth="session")
        return client

    def run(self, paths: Sequence[str]) -> float:
        """Read these paths of every machine, in order; return the seconds it took.

        ``{}`` in a path stands for the machine's system id.
        """

        def one(number: int) -> None:
            client, system = self._clients[number], system_id(number)
            for path in paths:
                answer = client.get(path.format(system))
                assert answer.status == 200, answer.status
                assert answer.dict

        began = time.perf_counter()
        list(self._pool.map(one, range(len(self._clients))))
        return time.perf_counter() - began

    def close(self) -> None:
        """Log every client out."""
        list(self._pool.map(lambda client: client.logout(), self._clients))
        self._pool.shutdown()
