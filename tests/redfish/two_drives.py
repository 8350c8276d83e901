"""A scripted BMC with two virtual CD drives, HTTP boot and BIOS settings; by TLS if wanted."""

import ssl
from typing import Any

from aiohttp import web

from tests.redfish.scripted_bmc import EJECT, INSERT, MEDIA, SYSTEM, ScriptedBmc

MEDIA_2 = f"{SYSTEM}/VirtualMedia/Cd2"
BIOS_RESET = f"{SYSTEM}/Bios/Actions/Bios.ResetBios"


def _in_second(path: str) -> str:
    return path.replace(MEDIA, MEDIA_2)


class TwoDriveBmc(ScriptedBmc):
    """``drives`` is what is in each drive, by its path, None for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.drives: dict[str, str | None] = {MEDIA: None, MEDIA_2: None}
        self.bios_resets = 0
        self.boot["BootSourceOverrideTarget@Redfish.AllowableValues"] = ["None", "Cd", "UefiHttp"]
        self.boot["HttpBootUri"] = None
        self.system_extra["Bios"] = {"@odata.id": f"{SYSTEM}/Bios"}
        self.resources[f"{SYSTEM}/Bios"] = {
            "Actions": {"#Bios.ResetBios": {"target": BIOS_RESET}},
        }
        self.resources[f"{SYSTEM}/VirtualMedia"] = {
            "Members": [{"@odata.id": path} for path in self.drives],
        }

    @property
    def inside(self) -> list[str]:
        """What the drives hold, in order."""
        return [image for image in self.drives.values() if image]

    async def serve_tls(self, cert: str, key: str) -> None:
        """Serve by TLS from now on, under the same or another address."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        assert self._runner is not None
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.address = f"https://127.0.0.1:{self._runner.addresses[-1][1]}"

    def _get(self, path: str) -> Any:
        if path not in self.drives:
            return super()._get(path)
        image = self.drives[path]
        shown = {**self._media(), "Image": image, "Inserted": image is not None}
        if path == MEDIA_2:
            shown["Actions"] = {
                "#VirtualMedia.InsertMedia": {"target": _in_second(INSERT)},
                "#VirtualMedia.EjectMedia": {"target": _in_second(EJECT)},
            }
        return shown

    def _write(self, path: str, body: Any) -> web.StreamResponse:
        for drive, insert, eject in (
            (MEDIA, INSERT, EJECT),
            (MEDIA_2, _in_second(INSERT), _in_second(EJECT)),
        ):
            if path == insert:
                self.drives[drive] = body["Image"]
                return web.Response(status=204)
            if path == eject:
                self.drives[drive] = None
                return web.Response(status=204)
        if path == BIOS_RESET:
            self.bios_resets += 1
            return web.Response(status=204)
        return super()._write(path, body)
