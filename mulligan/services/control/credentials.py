"""The logins of BMCs: kept sealed, shown without what is in them, given to BMCs anew."""

import secrets as random
import string

from mulligan.errors import InvalidArgument, NotFound
from mulligan.handlers import credential as credentials
from mulligan.handlers.credential import Credential
from mulligan.handlers.rotation import StartRotation, check_password
from mulligan.model import CredentialId
from mulligan.proto import v1
from mulligan.queries import images as queries
from mulligan.queries.rotations import first_problem, progress
from mulligan.reconcile.rotation_plan import why_held
from mulligan.services import render
from mulligan.services.control.machine_objects import MachineObjects
from mulligan.services.gate.caller import request_of
from mulligan.services.objects import fetch, identify
from mulligan.services.reading import page_of, wait_for
from mulligan.services.secrets.sealing import sealed

SECRET_KIND = "bmc"

MADE_LENGTH = 16
"""What every BMC takes: IPMI 2.0 has room for 20, and some old ones for 16 only."""

_SYMBOLS = "!#%*+-.=@_"
_CLASSES = (string.ascii_uppercase, string.ascii_lowercase, string.digits, _SYMBOLS)
_WAITING_SHOWN = 100


def make_password() -> str:
    """Make a password that BMCs take: a letter first, and something of all four classes."""
    while True:
        rest = "".join(random.choice("".join(_CLASSES)) for _ in range(MADE_LENGTH - 1))
        made = random.choice(string.ascii_letters) + rest
        if all(set(made) & set(one) for one in _CLASSES):
            return made


class Credentials(MachineObjects):
    """BMC logins and their rotation."""

    async def create_credential(self, message: v1.CreateCredentialRequest) -> v1.CredentialResponse:
        """Seal a BMC login and announce it."""
        request = request_of(message)
        for field, value in (("username", message.username), ("password", message.password)):
            if not 0 < len(value) <= 256 or "\0" in value:
                raise InvalidArgument(field, "give 1 to 256 characters")
        secrets = self._rt.parts.secrets
        login = f"{message.username}\0{message.password}".encode()
        version = await secrets.put(SECRET_KIND, request.id, login)
        command = credentials.CreateCredential(
            credential=CredentialId(request.id), name=message.name, version=version
        )
        async with sealed(secrets, SECRET_KIND, request.id, version) as kept:
            kept.landed = not (await self._commands.execute(command, request)).repeat
        return await self._named(request.id)

    async def list_credentials(
        self, message: v1.ListCredentialsRequest
    ) -> v1.ListCredentialsResponse:
        """List BMC logins, without what is in them."""
        position = await wait_for(self._rt, message.freshness, "images")
        page = await queries.list_credentials(
            self._rt.parts.database, page_of(self._rt, message.page)
        )
        return v1.ListCredentialsResponse(
            credentials=[render.credential(row, self._rt.region) for row in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def get_credential(self, message: v1.GetCredentialRequest) -> v1.CredentialResponse:
        """Return a BMC login without what is in it, and how far its rotation has come."""
        uuid = await self._login(message.credential)
        known = await fetch(self._commands, "credential", uuid)
        shown = render.credential(known, self._rt.region)
        if known.state.goal:
            await wait_for(self._rt, message.freshness, "machines")
            shown.rotation = await self._rotation(known.state)
        return v1.CredentialResponse(credential=shown, position=self._position())

    async def rotate_credential(self, message: v1.RotateCredentialRequest) -> v1.CredentialResponse:
        """Seal another password for a BMC login and have its BMCs be given it."""
        request = request_of(message)
        given = message.password
        if given:
            check_password(given)
        uuid = await self._login(message.credential)
        state: Credential = (await fetch(self._commands, "credential", uuid)).state
        secrets = self._rt.parts.secrets
        user, known = "", set()
        for version in state.kept:
            try:
                login = (await secrets.get(SECRET_KIND, uuid, version)).reveal().decode()
            except NotFound:
                continue  # destroyed a moment ago
            user, _, password = login.partition("\0")
            known.add(password)
        sealed_login = f"{user}\0{given or make_password()}".encode()
        version = await secrets.put(SECRET_KIND, uuid, sealed_login)
        command = StartRotation(
            credential=CredentialId(uuid),
            version=version,
            given=bool(given),
            known=given in known,
        )
        async with sealed(secrets, SECRET_KIND, uuid, version) as kept:
            kept.landed = not (await self._commands.execute(command, request)).repeat
        return await self._named(uuid)

    async def delete_credential(self, message: v1.DeleteCredentialRequest) -> v1.PositionResponse:
        """Forget a BMC login and destroy its secret."""
        request = request_of(message)
        uuid = await self._login(message.credential)
        command = credentials.DeleteCredential(credential=CredentialId(uuid))
        outcome = await self._commands.execute(command, request)
        await self._rt.parts.secrets.delete(SECRET_KIND, uuid)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def _login(self, text: str) -> str:
        return await identify(self._commands, "credential", text, "credential")

    async def _named(self, uuid: str) -> v1.CredentialResponse:
        """Answer who changed it: from exact state, which has no machines in it."""
        known = await fetch(self._commands, "credential", uuid)
        shown = render.credential(known, self._rt.region)
        return v1.CredentialResponse(credential=shown, position=self._position())

    async def _rotation(self, state: Credential) -> v1.Rotation:
        database = self._rt.parts.database
        found = await progress(database, state.id, state.goal, limit=_WAITING_SHOWN)
        problem = await first_problem(database, state.id, state.goal)
        return v1.Rotation(
            started_at=state.rotating_since,
            machines=found.machines,
            rotated=found.proven,
            waiting=[one.machine for one in found.left],
            problem="; ".join(filter(None, (problem, why_held(found)))),
        )
