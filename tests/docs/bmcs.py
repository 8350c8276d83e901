"""What stands around the region of a guide: BMCs with machines that boot, and a web server.

``python -m tests.docs.bmcs PORT COUNT FOLDER`` serves BMC number n at https://127.0.2.n:PORT, and
at http://127.0.3.1:PORT the files of FOLDER; any image that is asked for is 1 MiB of zeros.
"""

import io
import ssl
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pycdlib
import yaml
from aiohttp import web
from anyio.abc import TaskGroup

from mulligan.redfish.config_drive import CA_FILE
from tests.redfish.certificates import self_signed
from tests.redfish.vendors.dell_idrac9 import VENDOR
from tests.redfish.vendors.service import ROOT, Json
from tests.redfish.vendors.simulated import SimulatedBmc

HOST = "127.0.2.{}"
WEB = "127.0.3.1"
READY = "serving"
USER, PASSWORD = "root", "calvin-and-hobbes"
BOOTS_IN_S = 0.2
TRIES = 10

_ACCOUNTS = f"{ROOT}/AccountService/Accounts"
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA root@guest"


class BootingBmc(SimulatedBmc):
    """A Dell with an account whose password can be changed, and a system that heeds its seed."""

    def __init__(self, number: int, tasks: TaskGroup) -> None:
        super().__init__(VENDOR)
        self.user, self.password = USER, PASSWORD
        self.power = "Off"
        self._tasks_here = tasks
        self._host = HOST.format(number)
        self._name(number)
        system = self.tree[self.system]
        target = f"{self.system}/Bios/Actions/Bios.ResetBios"
        self.tree[f"{self.system}/Bios"]["Actions"] = {"#Bios.ResetBios": {"target": target}}
        system["LogServices"] = None
        self._offer_account()

    def _name(self, number: int) -> None:
        """Give this machine serial numbers and addresses that no other one has."""
        for path, body in self.tree.items():
            if "SerialNumber" in body:
                body["SerialNumber"] += f"N{number}"
            if "MACAddress" in body:
                body["MACAddress"] = body["PermanentMACAddress"] = _mac(number, path)
        self.tree[self.system]["UUID"] = f"4c4c4544-0042-4310-8031-c1c04f31{number:04x}"
        self.tree[ROOT]["UUID"] = f"4c4c4544-0042-4310-8031-b4c04f31{number:04x}"

    def _offer_account(self) -> None:
        account = f"{_ACCOUNTS}/2"
        self.tree[ROOT]["AccountService"] = {"@odata.id": f"{ROOT}/AccountService"}
        self.tree[f"{ROOT}/AccountService"] = {"Accounts": {"@odata.id": _ACCOUNTS}}
        self.tree[_ACCOUNTS] = {"Members": [{"@odata.id": account}]}
        self.tree[account] = {"@odata.id": account, "UserName": self.user, "Enabled": True}

    async def serve(self, port: int, context: ssl.SSLContext) -> None:
        """Serve over HTTPS at the address of this BMC; ends with its runner."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, port, ssl_context=context).start()

    def _write(self, path: str, body: Json, request: web.Request) -> str:
        if request.method == "PATCH" and path == f"{_ACCOUNTS}/2":
            self.password = body["Password"]
            return "password"
        return super()._write(path, body, request)

    def _start(self) -> None:
        super()._start()
        self._tasks_here.start_soon(self._boot, tuple(self.media.values()))

    async def _boot(self, media: tuple[str, ...]) -> None:
        """Do what cloud-init, or a wipe image, does with the seed that is in a drive."""
        await anyio.sleep(BOOTS_IN_S)
        async with aiohttp.ClientSession() as http:
            for url in media:
                # A BMC that was given no CA to check with does not check.
                async with http.get(url, ssl=False) as answer:
                    files = files_of(await answer.read())
                if not files:
                    continue
                await self._heed(http, files)

    async def _heed(self, http: aiohttp.ClientSession, files: dict[str, bytes]) -> None:
        context = ssl.create_default_context(cadata=files.get(CA_FILE, b"").decode() or None)
        home = yaml.safe_load(files["vendor-data"]).get("phone_home")
        if home:
            told = {"hostname": "guest", "pub_key_ed25519": _KEY}
            await _report(http, home["url"], context, data=told)
        if "mulligan-wipe.json" in files:
            asked = yaml.safe_load(files["mulligan-wipe.json"])
            wiped = [_wiped(serial) for serial in asked["disks"]]
            await _report(http, asked["report_url"], context, json={"disks": wiped})


async def _report(
    http: aiohttp.ClientSession, url: str, context: ssl.SSLContext, **told: Any
) -> None:
    """Tell that the system is up, or what was wiped, as often as cloud-init does."""
    for _ in range(TRIES):
        async with http.post(url, ssl=context, **told) as answer:
            if answer.status == 204:
                return
            sys.stdout.write(f"{url}: {answer.status} {await answer.text()}\n")
            sys.stdout.flush()
        await anyio.sleep(1)


def files_of(image: bytes) -> dict[str, bytes]:
    """Return the files of a seed; none for an image that is no file system."""
    iso = pycdlib.PyCdlib()
    try:
        iso.open_fp(io.BytesIO(image))
    except pycdlib.pycdlibexception.PyCdlibException:
        return {}
    return dict(_read(iso))


def _read(iso: Any) -> Iterator[tuple[str, bytes]]:
    for child in iso.list_children(joliet_path="/"):
        if child is not None and child.is_file():
            name = child.file_identifier().decode("utf-16-be")
            content = io.BytesIO()
            iso.get_file_from_iso_fp(content, joliet_path=f"/{name}")
            yield name, content.getvalue()


def _wiped(serial: str) -> Json:
    return {"serial": serial, "method": "nvme-format", "bytes": 960197124096, "verified": True}


def _mac(number: int, path: str) -> str:
    return f"02:4D:00:00:{number:02X}:{sum(path.encode()) % 256:02X}"


async def _file(request: web.Request) -> web.StreamResponse:
    folder: Path = request.app[_FOLDER]
    path = folder / request.path.lstrip("/")
    if path.suffix == ".iso":
        return web.Response(body=bytes(2**20))
    return web.FileResponse(path) if path.is_file() else web.Response(status=404)


_FOLDER = web.AppKey("folder", Path)


async def main(port: int, count: int, folder: Path) -> None:
    """Serve until it is told to stop."""
    cert, key = self_signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        for number in range(1, count + 1):
            bmc = BootingBmc(number, tasks)
            await bmc.serve(port, context)
            stack.push_async_callback(bmc.__aexit__)
        app = web.Application()
        app[_FOLDER] = folder
        app.router.add_get("/{path:.*}", _file)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, WEB, port).start()
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
