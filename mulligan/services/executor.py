"""mulligan-executor: what only a process on the BMCs' network can answer."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from mulligan.errors import InvalidArgument
from mulligan.events.machine import Bmc
from mulligan.handlers.enrolment import bmc_stream, plain_address
from mulligan.handlers.names import NameState
from mulligan.model import CredentialId
from mulligan.proto import v1
from mulligan.redfish.scan import Found, addresses_of, scan
from mulligan.services.runtime import Runtime


class Executor(v1.ExecutorBase):
    """``mulligan.v1.Executor``; its work on machines is in ``mulligan.redfish.executor``."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    async def scan_bmcs(self, message: v1.ScanBmcsRequest) -> AsyncIterator[v1.ScannedBmc]:
        """Look for BMCs by their service root; each address is answered as it comes."""
        if not 0 <= message.port < 65536:
            raise InvalidArgument("port", f"{message.port} is no port")
        scheme = "http" if message.insecure else "https"
        wanted = addresses_of(message.addresses, port=message.port, scheme=scheme)
        async with aclosing(scan(wanted)) as answers:
            async for found in answers:
                yield await self._scanned(found)

    async def _scanned(self, found: Found) -> v1.ScannedBmc:
        machine = ""
        if not found.problem:
            stream = bmc_stream(
                Bmc(address=plain_address(found.address), credential=CredentialId(""))
            )
            holder: NameState | None = (await self._rt.parts.commands.state(stream)).state
            machine = holder.object if holder is not None else ""
        return v1.ScannedBmc(
            address=found.address,
            found=not found.problem,
            problem=found.problem,
            redfish_version=found.redfish_version,
            vendor=found.vendor,
            product=found.product,
            service_uuid=found.service_uuid,
            fingerprint=found.fingerprint,
            machine=machine,
        )

    async def executor_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return self._rt.settings.configure(message)
