"""Three projects with one object of each kind, and everybody who may call, or may not any more.

``red`` is never told apart from nothing by ``blue``, who asks; what tells of it has ``MARK`` in it.
``green`` is where calls that are allowed may do what they do.
"""

import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from betterproto2 import Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpclib import GRPCError, Status

from mulligan.log.etcd import Etcd
from mulligan.log.keys import Keys
from mulligan.model import RegionName, new_id, utc_now
from mulligan.proto import v1
from mulligan.secrets import SecretStore, load_master_keys
from mulligan.services.iam.signing import SECRET_KIND
from mulligan.services.iam.tokens import ACCESS_LIFE, Signer
from mulligan.services.runtime import etcd_settings
from mulligan.services.secrets.secretkv import EtcdSecretKv
from tests.e2e.fleet import rests
from tests.e2e.region import RunningRegion
from tests.services.edge import Edge
from tests.services.yard import Yard

MARK = "vermilion"
SECRET = "a-secret-of-the-matrix"
PROJECT_ROLES = ("owner", "member", "reader")
SYSTEM_ROLES = ("admin", "operator", "auditor")
CLASS = "custom.matrix"


class Object(NamedTuple):
    """What names an object."""

    uuid: str
    name: str


Objects = Mapping[str, Object]


class Outcome(NamedTuple):
    """How a call came out: its status, and what it said, an error or an answer."""

    status: Status
    said: str


class World:
    """The objects of each project, and a token of each caller."""

    def __init__(self, edge: Edge, admin: str) -> None:
        self.edge = edge
        self.admin = admin
        self.objects: dict[str, dict[str, Object]] = {}
        self.tokens: dict[str, str] = {}
        self.refresh_token = ""

    async def project(self, color: str, called: str) -> None:
        """Make a project with an account for each role, and the capacity that it holds."""
        name = f"{called}-{new_id()[-8:]}"
        made = await self.call("iam.create_project", v1.CreateProjectRequest(name=name))
        project = Object(made.project.uuid, name)
        mine = self.objects[color] = {"project": project}
        for role in PROJECT_ROLES:
            account = f"{name}-{role}"
            mine[role] = await self.account(account, role, name)
            login = v1.LoginRequest(account=account, secret=SECRET, project=name)
            answer = await self.call("iam.login", login)
            self.tokens[f"{color}.{role}"] = answer.access_token
            self.refresh_token = answer.refresh_token
        mine["account"] = mine["owner"]
        await self._capacity(mine, color)
        await self._given(mine, name, self.tokens[f"{color}.owner"])

    async def account(self, name: str, role: str, project: str = "") -> Object:
        """Make an account with a role."""
        made = v1.CreateAccountRequest(name=name, secret=SECRET)
        account = (await self.call("iam.create_account", made)).account
        binding = v1.RoleBinding(role=role, project=project)
        bound = v1.BindRoleRequest(account=account.uuid, binding=binding)
        await self.call("iam.bind_role", bound)
        return Object(account.uuid, name)

    async def _capacity(self, mine: dict[str, Object], color: str) -> None:
        pool = f"matrix-pool-{color}-{new_id()[-8:]}"
        stock = v1.CreateProviderRequest(
            name=pool,
            type="compute",
            attributes={"note": f"{MARK}-attribute" if color == "red" else "none"},
            inventories=[v1.Inventory(resource_class=CLASS, total=100)],
        )
        made = await self.call("resource.create_provider", stock)
        mine["provider"] = Object(made.provider.uuid, pool)
        quota = v1.SetQuotaRequest(project=mine["project"].uuid, limits={CLASS: 100})
        await self.call("resource.set_quota", quota)

    async def _given(self, mine: dict[str, Object], name: str, owner: str) -> None:
        """Make what an owner can make."""
        pool = mine["provider"].uuid
        amount = 100 if MARK in name else 1
        taken = v1.ClaimExactRequest(
            name=f"{name}-claim",
            allocations=[v1.Allocation(provider=pool, amounts={CLASS: amount})],
        )
        claim = (await self.call("resource.claim_exact", taken, owner)).claim
        mine["claim"] = Object(claim.uuid, claim.name)
        data = v1.CreateUserDataRequest(name=f"{name}-data", content=name.encode())
        kept = (await self.call("control.create_user_data", data, owner)).user_data
        mine["userdata"] = Object(kept.uuid, kept.name)
        defined = v1.CreateMetadefRequest(name=f"{name}-attribute", description=name)
        metadef = (await self.call("meta.create_metadef", defined, owner)).metadef
        mine["metadef"] = Object(metadef.uuid, metadef.name)
        tagged = v1.UpdateMetadataRequest(kind="claim", object=claim.uuid, add_tags=[f"{name}-tag"])
        await self.call("meta.update_metadata", tagged, owner)
        credential = v1.CreateApplicationCredentialRequest(name=f"{name}-app", secret=SECRET)
        made = await self.call("iam.create_application_credential", credential, owner)
        mine["application"] = Object(made.account.uuid, f"{name}-app")

    async def shared(self) -> None:
        """Make what no project owns."""
        suffix = new_id()[-8:]
        group = v1.CreateGroupRequest(name=f"matrix-{suffix}")
        made = (await self.call("resource.create_group", group)).group
        members = [objects["provider"].uuid for objects in self.objects.values()]
        joining = v1.UpdateGroupMembersRequest(group=made.uuid, add=members)
        await self.call("resource.update_group_members", joining)
        image = v1.CreateImageRequest(
            name=f"matrix-{suffix}", url="file:none.iso", sha256="0" * 64, kind="iso"
        )
        drawn = (await self.call("control.create_image", image)).image
        for objects in self.objects.values():
            objects["group"] = Object(made.uuid, made.name)
            objects["image"] = Object(drawn.uuid, drawn.name)
        closed = v1.CordonProviderRequest(
            provider=self.objects["red"]["provider"].uuid, note=f"{MARK}-note"
        )
        await self.call("resource.cordon_provider", closed)

    async def machines(self, yard: Yard) -> None:
        """Let each project hold a machine."""
        names = await yard.enrolled(len(self.objects))
        for name, objects in zip(names, self.objects.values(), strict=True):
            await yard.adopt(name, objects["project"].name)
        for name, objects in zip(names, self.objects.values(), strict=True):
            held = await rests(yard.admin, name, v1.MachineState.ACTIVE)
            objects["machine"] = Object(held.uuid, name)

    async def system(self) -> None:
        """Make a caller of every system role, and one who had a role once."""
        self.tokens["admin"] = self.admin
        for role in ("operator", "auditor"):
            name = f"matrix-{role}-{new_id()[-8:]}"
            await self.account(name, role)
            self.tokens[role] = await self.edge.token(name, SECRET)
        green = self.objects["green"]["project"].name
        name = f"matrix-none-{new_id()[-8:]}"
        once = await self.account(name, "reader", green)
        self.tokens["none"] = await self.edge.token(name, SECRET, green)
        binding = v1.RoleBinding(role="reader", project=green)
        await self.call("iam.unbind_role", v1.UnbindRoleRequest(account=once.uuid, binding=binding))

    async def call(self, method: str, message: Any, token: str = "") -> Any:
        """Call as the administrator, or with a token."""
        return await self.edge.call(method, message, token or self.admin)

    def marks(self, color: str) -> list[str]:
        """Return what no answer to another project has in it."""
        mine = self.objects[color]
        return [MARK, *(o.uuid for kind, o in mine.items() if kind not in {"group", "image"})]


def plain(answer: Message) -> str:
    """Return all that an answer says, but for where the log stood."""
    if hasattr(answer, "position"):
        answer.position = None
    return answer.to_json()


async def signer_of(region: RunningRegion, world: World) -> Signer:
    """Return what signs the region's tokens, with its newest key as mulligan-iam reads it."""
    found: dict[str, str] = {}
    request = v1.ReadLogRequest(filter=v1.LogFilter(kind="key", type="key.created"))
    metadata = {"authorization": f"Bearer {world.admin}"}
    stub = v1.LogStub(world.edge.channel("log"))
    async for record in stub.read_log(request, metadata=metadata, timeout=10):
        data = json.loads(record.events[0].data)
        if data.get("use", "token") == "token":
            found = {"kid": data["kid"], "version": data["version"]}
    name = RegionName(region.config.region)
    async with Etcd(etcd_settings(region.config)) as etcd:
        masters = load_master_keys(region.config.secrets.key_file, {})
        store = SecretStore(name, masters, EtcdSecretKv(etcd, Keys(name)))
        raw = (await store.get(SECRET_KIND, found["kid"], found["version"])).reveal()
    return Signer(name, found["kid"], Ed25519PrivateKey.from_private_bytes(raw))


def tampered(token: str) -> str:
    """Return the token with ``admin`` written into its roles and the signature left."""
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed = base64.urlsafe_b64encode(json.dumps({**claims, "roles": ["admin"]}).encode())
    return f"{head}.{changed.rstrip(b'=').decode()}.{signature}"


async def bad_tokens(world: World, signer: Signer) -> dict[str, str]:
    """Return tokens that are not, or no longer, good for anything."""
    who = await world.call("iam.who_am_i", v1.WhoAmIRequest())
    now = utc_now()
    elsewhere = Signer(RegionName("other"), signer.kid, signer._key)
    stranger = Signer(RegionName("e2e"), signer.kid, Ed25519PrivateKey.generate())
    green = world.objects["green"]["project"].name

    async def logged_in(name: str, role: str = "reader", project: str = green) -> tuple[str, str]:
        called = f"matrix-{name}-{new_id()[-8:]}"
        account = await world.account(called, role, project)
        return account.uuid, await world.edge.token(called, SECRET, project)

    _, ended = await logged_in("ended")
    await world.call("iam.logout", v1.LogoutRequest(), ended)
    disabled, of_disabled = await logged_in("disabled", "operator", "")
    await world.call("iam.disable_account", v1.DisableAccountRequest(account=disabled))
    revoked, of_revoked = await logged_in("revoked", "auditor", "")
    await world.call("iam.revoke_tokens", v1.RevokeTokensRequest(account=revoked))
    _, of_owner = await logged_in("application", "owner")
    name = f"gone-{new_id()[-8:]}"
    asked = v1.CreateApplicationCredentialRequest(name=name, secret=SECRET)
    made = await world.call("iam.create_application_credential", asked, of_owner)
    of_application = await world.edge.token(made.account.uuid, SECRET, green)
    gone = v1.DeleteApplicationCredentialRequest(credential=name)
    await world.call("iam.delete_application_credential", gone, of_owner)
    return {
        "none": "",
        "nonsense": "nonsense",
        "expired": signer.access(who.account, "", ["admin"], now - 2 * ACCESS_LIFE)[0],
        "of the future": signer.access(who.account, "", ["admin"], now + timedelta(hours=1))[0],
        "of another region": elsewhere.access(who.account, "", ["admin"], now)[0],
        "of another key": stranger.access(who.account, "", ["admin"], now)[0],
        "of nobody": signer.access(new_id(), "", ["admin"], now)[0],
        "a refresh token": world.refresh_token,
        "tampered": tampered(world.tokens["blue.owner"]),
        "of an ended session": ended,
        "of a disabled account": of_disabled,
        "revoked": of_revoked,
        "of an application credential that is gone": of_application,
    }


def refused(error: GRPCError) -> Outcome:
    """Return how a call was refused, all its details included."""
    return Outcome(error.status, f"{error.message} {error.details or ''}")
