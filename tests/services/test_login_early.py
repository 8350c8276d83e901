"""A login to a region that has no account yet is not told that its secret is wrong."""

import pytest

from mulligan.errors import Unauthenticated, Unavailable
from mulligan.handlers.account import Account
from mulligan.proto import v1
from mulligan.services.iam.login import LoginCalls


class Early(LoginCalls):
    """Knows no account."""

    def __init__(self, *, settled: bool) -> None:
        self._settled = lambda: settled

    async def _named(self, text: str) -> Account | None:
        return None

    async def _matches(self, account: Account | None, secret: str) -> bool:
        return False


async def test_who_comes_before_the_administrator_is_made_is_told_to_wait() -> None:
    login = v1.LoginRequest(account="admin", secret="s")
    with pytest.raises(Unavailable, match="no administrator yet"):
        await Early(settled=False).login(login)
    with pytest.raises(Unauthenticated):
        await Early(settled=True).login(login)
