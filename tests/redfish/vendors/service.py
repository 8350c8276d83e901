"""A whole Redfish service written down briefly: resources by path, the rest follows from them."""

import copy
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from mulligan.events.machine import Facts

ROOT = "/redfish/v1"
_UNLINKED = {"Settings", "SD"}

Json = dict[str, Any]


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """One maker's service, what is to be found in it, and how it behaves.

    ``resources`` are bodies by path below the root, without what ``tree`` adds. ``system`` and
    ``slots`` (virtual drives that take an image) are paths too.
    """

    name: str
    resources: Mapping[str, Json]
    root: Json = {}
    system: str
    slots: tuple[str, ...]
    facts: Facts
    requests: int = 60
    """Most requests that an inspection may take."""
    sessions: bool = True
    slash: bool = False
    expands: Literal["no", "yes", "refuses"] = "no"
    etag: Literal["", "strong", "weak"] = ""
    if_match: bool = False
    """Whether a PATCH needs a matching If-Match."""
    tasks: frozenset[str] = frozenset()
    """Actions that are answered with a task: ``reset``, ``insert``."""
    changing: int = 0
    """How many reads show PoweringOn or PoweringOff."""
    stage_at: str = ""
    """Where the boot override is changed instead of at the system."""
    boot_fixed: frozenset[str] = frozenset()
    """Boot properties that cannot be written."""
    once: str = "Once"
    """What the service reports of an override that is asked for once."""
    http_target: str = "UefiHttp"
    """What the service reports as the target of an HTTP boot."""
    media_by_patch: bool = False
    insert_needs: frozenset[str] = frozenset()
    insert_takes: frozenset[str] = frozenset()
    """Properties that an insert may have; empty: any."""
    shows_image: Literal["url", "path", "name", "nothing"] = "url"
    shows_inserted: bool = True
    mute: bool = False
    """Whether errors carry message ids alone."""
    task_retry_after: int = 0


def ref(path: str) -> Json:
    """Refer to a resource below the root."""
    return {"@odata.id": f"{ROOT}/{path}"}


def action(path: str, name: str, **more: Any) -> Json:
    """Describe an action of the resource at ``path``."""
    target = f"{ROOT}/{path}/Actions/{name}"
    return {f"#{name}": {"target": target, **more}}


def reset(path: str, *kinds: str) -> Json:
    """Describe a Reset with the kinds that it lists."""
    return action(path, "ComputerSystem.Reset", **{"ResetType@Redfish.AllowableValues": [*kinds]})


def drive_actions(path: str) -> Json:
    """Describe the actions of a virtual drive."""
    return action(path, "VirtualMedia.InsertMedia") | action(path, "VirtualMedia.EjectMedia")


def tree(vendor: Vendor) -> dict[str, Json]:
    """Return every resource of a service by its full path, collections and links included.

    A resource is linked from the one above it by its last segment. Where there is none above,
    a collection is made there.
    """
    made: dict[str, Json] = {ROOT: {"RedfishVersion": "1.11.0", **copy.deepcopy(vendor.root)}}
    for path, body in vendor.resources.items():
        full = f"{ROOT}/{path}"
        made[full] = {"@odata.id": full, "Id": path.rpartition("/")[2], **copy.deepcopy(body)}
    if vendor.sessions:
        made[ROOT]["Links"] = {"Sessions": ref("SessionService/Sessions")}
    for path in [*made][1:]:
        _hang(made, path)
    return {path: _slashed(body) if vendor.slash else body for path, body in made.items()}


def _hang(made: dict[str, Json], path: str) -> None:
    above, _, name = path.rpartition("/")
    if above in made and "Members" not in made[above]:
        if name not in _UNLINKED:
            made[above].setdefault(name, {"@odata.id": path})
        return
    if above not in made:
        made[above] = {"@odata.id": above, "Members": []}
        _hang(made, above)
    made[above]["Members"].append({"@odata.id": path})
    made[above]["Members@odata.count"] = len(made[above]["Members"])


def _slashed(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: f"{item}/" if key in ("@odata.id", "target") else _slashed(item)
            for key, item in value.items()
        }
    return [_slashed(item) for item in value] if isinstance(value, list) else value
