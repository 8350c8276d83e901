"""One simulated BMC with state, which serves any vendor's tree and behaves by its few data."""

import copy
from urllib.parse import urlsplit

from aiohttp import encode_basic_auth, web

from tests.redfish.vendors.service import ROOT, Json, Vendor, tree

_SESSIONS = f"{ROOT}/SessionService/Sessions"
_TASK = f"{ROOT}/TaskService/TaskMonitors/7"
_OFF = {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}


class Refusal(Exception):
    """The service refuses a write."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class SimulatedBmc:
    """A machine with its BMC: ``power``, ``media`` by slot, ``boot``, ``booted`` and ``resets``.

    ``booted`` holds what each start booted from: the target, and the images in the drives.
    ``broken`` are answers to give instead, by path.
    """

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.user, self.password = "admin", "s3cret-Passw0rd"
        self.tree = tree(vendor)
        self.system = f"{ROOT}/{vendor.system}"
        self.slots = [f"{ROOT}/{slot}" for slot in vendor.slots]
        self.power = "On"
        self.media: dict[str, str] = {}
        self.boot: Json = {**_OFF}
        self.booted: list[tuple[str, tuple[str, ...]]] = []
        self.resets: list[str] = []
        self.log: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self.broken: dict[str, web.Response] = {}
        self.address = ""
        self._changing = 0
        self._tasks: list[int] = []
        self._version = 1
        self._tokens: set[str] = set()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "SimulatedBmc":
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # -- HTTP --------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.path.rstrip("/")
        self.log.append((request.method, request.path_qs))
        if request.method == "POST" and path == _SESSIONS and self.vendor.sessions:
            return await self._log_in(request)
        if path != ROOT and not self._known(request):
            return web.json_response({}, status=401)
        if request.method == "DELETE":
            self._tokens.discard(request.headers.get("X-Auth-Token", ""))
            return web.Response(status=204)
        try:
            if request.method == "GET":
                return self._get(path, request)
            return self._wrote(self._write(path, await request.json(), request))
        except Refusal as refusal:
            self.refused.append(refusal.message)
            return web.json_response(self._error(refusal.message), status=refusal.status)

    async def _log_in(self, request: web.Request) -> web.Response:
        body = await request.json()
        if (body["UserName"], body["Password"]) != (self.user, self.password):
            return web.json_response({}, status=401)
        token = f"token-{len(self.log)}"
        self._tokens.add(token)
        headers = {"X-Auth-Token": token, "Location": f"{_SESSIONS}/{token}"}
        return web.json_response({}, status=201, headers=headers)

    def _known(self, request: web.Request) -> bool:
        if request.headers.get("X-Auth-Token", "") in self._tokens:
            return True
        return request.headers.get("Authorization") == encode_basic_auth(self.user, self.password)

    def _error(self, message: str) -> Json:
        if self.vendor.mute:
            info: Json = {"MessageId": "iLO.2.14.PropertyNotWritableOrUnknown", "MessageArgs": []}
            said = "See @Message.ExtendedInfo for more information."
        else:
            info, said = {"MessageId": "Base.1.8.GeneralError", "Message": message}, message
        return {"error": {"@Message.ExtendedInfo": [info], "code": "x", "message": said}}

    def _wrote(self, what: str) -> web.Response:
        self._version += 1
        if what not in self.vendor.tasks:
            return web.Response(status=204)
        self._tasks.append(1)
        headers = {"Location": _TASK, "Retry-After": str(self.vendor.task_retry_after)}
        return web.json_response({"TaskState": "Running"}, status=202, headers=headers)

    # -- reading -----------------------------------------------------------------------------

    def _get(self, path: str, request: web.Request) -> web.Response:
        if path == _TASK and self._tasks:
            return web.json_response({"TaskState": "Completed", "TaskStatus": "OK"})
        if path in self.broken:
            broken = self.broken[path]
            return web.Response(
                status=broken.status, body=broken.body, content_type=broken.content_type
            )
        body = self._body(path)
        if body is None:
            raise Refusal(404, f"no resource {path}")
        if "$expand" in request.query:
            body = self._expanded(body)
        tag = self._etag()
        headers = {"ETag": tag} if tag else {}
        return web.json_response(body, headers=headers)

    def _expanded(self, body: Json) -> Json:
        if self.vendor.expands == "refuses":
            raise Refusal(501, "$expand is not implemented")
        for key, value in body.items() if self.vendor.expands == "yes" else ():
            if key in ("Members", "Drives"):
                body[key] = [self._body(one["@odata.id"].rstrip("/")) or one for one in value]
        return body

    def _body(self, path: str) -> Json | None:
        found = copy.deepcopy(self.tree.get(path))
        if found is None:
            return None
        if path == self.system:
            found["PowerState"] = self._shown_power()
            found["Boot"] = {**found.get("Boot", {}), **self._shown_boot(staged=False)}
        elif path == f"{ROOT}/{self.vendor.stage_at}":
            found["Boot"] = self._shown_boot(staged=True)
        elif "/VirtualMedia/" in path and "MediaTypes" in found:
            found.update(self._shown_media(self.media.get(path)))
        if self.vendor.etag and "Members" not in found:
            found["@odata.etag"] = self._etag()
        return found

    def _etag(self) -> str:
        tag = f'"v{self._version}"'
        return {"": "", "strong": tag, "weak": f"W/{tag}"}[self.vendor.etag]

    def _shown_power(self) -> str:
        if self._changing:
            self._changing -= 1
            return "PoweringOn" if self.power == "On" else "PoweringOff"
        return self.power

    def _shown_boot(self, *, staged: bool) -> Json:
        if self.vendor.stage_at and not staged:
            return {**_OFF}
        shown = {**self.boot}
        if shown["BootSourceOverrideEnabled"] == "Once" or self.vendor.once == "Continuous":
            shown["BootSourceOverrideEnabled"] = self.vendor.once
        return shown

    def _shown_media(self, url: str | None) -> Json:
        path = urlsplit(url).path if url else ""
        shown = {
            "Image": {"url": url, "path": path, "name": path.rpartition("/")[2], "nothing": None}[
                self.vendor.shows_image
            ]
            or None,
            "ConnectedVia": "URI" if url else "NotConnected",
        }
        return {**shown, "Inserted": url is not None} if self.vendor.shows_inserted else shown

    # -- writing -----------------------------------------------------------------------------

    def _write(self, path: str, body: Json, request: web.Request) -> str:
        if request.method == "PATCH":
            return self._patch(path, body, request.headers.get("If-Match", ""))
        owner, _, action = path.partition("/Actions/")
        if owner == self.system and action == "ComputerSystem.Reset":
            self._reset(body["ResetType"])
            return "reset"
        if owner in self.tree and f"#{action}" in self.tree[owner].get("Actions", {}):
            if action == "VirtualMedia.EjectMedia":
                self.media.pop(owner, None)
                return "eject"
            if action == "VirtualMedia.InsertMedia":
                self._insert(owner, body)
                return "insert"
            return action
        raise Refusal(404, f"no action {path}")

    def _patch(self, path: str, body: Json, if_match: str) -> str:
        if self.vendor.if_match and if_match != self._etag():
            raise Refusal(412, "the entity tag does not match")
        if path in self.tree and self.vendor.media_by_patch and "/VirtualMedia/" in path:
            if body.get("Image") is None:
                self.media.pop(path, None)
                return "eject"
            self._insert(path, body)
            return "insert"
        where = f"{ROOT}/{self.vendor.stage_at}" if self.vendor.stage_at else self.system
        if path != where:
            raise Refusal(405, f"{path} cannot be changed")
        self._set_boot(body["Boot"])
        return "boot"

    def _set_boot(self, change: Json) -> None:
        fixed = self.vendor.boot_fixed & set(change)
        if fixed:
            raise Refusal(400, f"the property {min(fixed)} is read only")
        boot = self.tree[self.system].get("Boot", {})
        allowed = boot.get("BootSourceOverrideTarget@Redfish.AllowableValues")
        target = change.get("BootSourceOverrideTarget")
        if allowed and target not in (None, *allowed):
            raise Refusal(400, f"the value {target} is not in the list")
        self.boot = {**self.boot, **change}
        if target == "UefiHttp":
            self.boot["BootSourceOverrideTarget"] = self.vendor.http_target
        if self.boot["BootSourceOverrideEnabled"] == "Disabled":
            self.boot["BootSourceOverrideTarget"] = "None"

    def _insert(self, slot: str, body: Json) -> None:
        if slot not in self.slots:
            raise Refusal(400, "this drive takes no image")
        if slot in self.media:
            raise Refusal(500, "the drive is in use")
        missing = self.vendor.insert_needs - set(body)
        if missing:
            raise Refusal(400, f"the action requires the parameter {min(missing)}, it is missing")
        unknown = set(body) - self.vendor.insert_takes if self.vendor.insert_takes else set()
        if unknown:
            raise Refusal(400, f"the property {min(unknown)} is not known")
        self.media[slot] = body["Image"]

    def _reset(self, kind: str) -> None:
        allowed = self._reset_types()
        if kind not in allowed:
            raise Refusal(400, f"{kind} is not in the list {', '.join(allowed)}")
        was, now = self.power, "Off" if kind in ("ForceOff", "GracefulShutdown") else "On"
        if was == now == "Off" or (was == "On" and kind in ("On", "ForceOn")):
            raise Refusal(409, f"the system is {was} already")
        self.resets.append(kind)
        self.power = now
        if kind != "Nmi":
            self._changing = self.vendor.changing
        if now == "On" and kind != "Nmi":
            self._start()

    def _reset_types(self) -> list[str]:
        action = self.tree[self.system]["Actions"]["#ComputerSystem.Reset"]
        listed: list[str] | None = action.get("ResetType@Redfish.AllowableValues")
        if listed is None:
            info = self.tree[action["@Redfish.ActionInfo"]]
            listed = info["Parameters"][0]["AllowableValues"]
        return listed

    def _start(self) -> None:
        enabled = self.boot["BootSourceOverrideEnabled"] != "Disabled"
        target = self.boot["BootSourceOverrideTarget"] if enabled else "None"
        self.booted.append((target, tuple(self.media.values())))
        if self.boot["BootSourceOverrideEnabled"] == "Once" and self.vendor.once == "Once":
            self.boot = {**self.boot, **_OFF}
