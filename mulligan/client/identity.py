"""Who we are to the services: login, the token's renewal, and its cache."""

import time
from collections.abc import Awaitable, Callable

import anyio
import msgspec

from mulligan.client.tokens import TokenCache, Tokens
from mulligan.errors import MulliganError, NotFound, PermissionDenied, Unauthenticated
from mulligan.proto.v1 import LoginRequest, LoginResponse, RefreshRequest

Login = Callable[[LoginRequest], Awaitable[LoginResponse]]
Refresh = Callable[[RefreshRequest], Awaitable[LoginResponse]]


class Identity:
    """One account in one scope, and the token that proves it.

    ``login`` and ``refresh`` are the two RPCs. ``certificate`` is the client certificate that the
    connections show; without it and without a secret only cached tokens serve.
    """

    def __init__(
        self,
        request: LoginRequest,
        *,
        login: Login,
        refresh: Refresh,
        cache: TokenCache,
        certificate: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._request = request
        self._certificate = certificate
        self._login = login
        self._refresh = refresh
        self._cache = cache
        self._clock = clock
        self._renewing = anyio.Lock()
        cached = cache.load()
        self._tokens = cached.tokens if cached.login == self.key else None

    @property
    def key(self) -> str:
        """What cached tokens must have been given for to be of use."""
        who = self._request.account or self._certificate
        return f"{who} {self._request.project or 'system'}"

    @property
    def tokens(self) -> Tokens | None:
        """What the last login gave."""
        return self._tokens

    async def access_token(self) -> str:
        """Return a token that is good for a while, logging in when there is none.

        Raise Unauthenticated when that takes a secret that we do not have.
        """
        tokens = self._tokens
        if tokens is None or not tokens.is_fresh(self._clock()):
            tokens = await self._renew(tokens)
        return tokens.access

    async def renew(self, refused: str) -> None:
        """Get another token than ``refused``, which a service no longer accepts."""
        tokens = self._tokens
        if tokens is None or tokens.access == refused:
            await self._renew(tokens)

    async def log_in(self) -> Tokens:
        """Log in with the secret or certificate, whatever tokens there are."""
        async with self._renewing:
            return await self._anew()

    def forget(self) -> None:
        """Have no tokens any more, nor anything else that is cached."""
        self._tokens = None
        self._cache.forget()

    async def _renew(self, old: Tokens | None) -> Tokens:
        async with self._renewing:
            if self._tokens is not None and self._tokens is not old:
                return self._tokens  # another call has done it meanwhile
            if old is not None and old.refresh:
                try:
                    answer = await self._refresh(RefreshRequest(refresh_token=old.refresh))
                except (Unauthenticated, PermissionDenied, NotFound):
                    if not self._can_log_in:
                        raise Unauthenticated(
                            f"the login of {self._request.account!r} has ended; "
                            "run `mulligan login`"
                        ) from None
                else:
                    return self._keep(answer, old.refresh)
            return await self._anew()

    @property
    def _can_log_in(self) -> bool:
        return bool(self._request.secret or self._certificate)

    async def _anew(self) -> Tokens:
        if not self._request.account and not self._certificate:
            raise Unauthenticated("no account is set; run `mulligan login`")
        if not self._can_log_in:
            raise Unauthenticated(
                f"{self._request.account!r} is not logged in; run `mulligan login`"
            )
        try:
            return self._keep(await self._login(self._request))
        except Unauthenticated as error:
            who = self._request.account or self._certificate
            raise _refused(error, who) from error

    def _keep(self, answer: LoginResponse, refresh: str = "") -> Tokens:
        now = self._clock()
        expires_at = answer.expires_at.timestamp() if answer.expires_at else now + 60
        self._tokens = Tokens(
            access=answer.access_token,
            refresh=answer.refresh_token or refresh,
            obtained_at=now,
            expires_at=expires_at,
            account=answer.account,
            project=answer.project,
        )
        cached = msgspec.structs.replace(self._cache.load(), login=self.key, tokens=self._tokens)
        self._cache.store(cached)
        return self._tokens


def _refused(error: MulliganError, account: str) -> Unauthenticated:
    return Unauthenticated(f"the login of {account!r} was refused: {error.message}")
