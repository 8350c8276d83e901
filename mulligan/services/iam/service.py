"""mulligan-iam: accounts, projects, roles, tokens and keys."""

from collections.abc import Callable

from mulligan.proto import v1
from mulligan.services.dry_runs import DryRuns
from mulligan.services.iam.accounts import AccountCalls
from mulligan.services.iam.applications import ApplicationCalls
from mulligan.services.iam.keys import KeyCalls
from mulligan.services.iam.login import LoginCalls
from mulligan.services.iam.passwords import Passwords
from mulligan.services.iam.projects import ProjectCalls
from mulligan.services.iam.role_bindings import RoleCalls
from mulligan.services.iam.signing import SigningKeys
from mulligan.services.runtime import Runtime


class Iam(
    DryRuns,
    LoginCalls,
    AccountCalls,
    ApplicationCalls,
    RoleCalls,
    ProjectCalls,
    KeyCalls,
    v1.IamBase,
):
    """``mulligan.v1.Iam``; its methods are in a module for each kind of thing."""

    def __init__(self, runtime: Runtime, signing: SigningKeys, settled: Callable[[], bool]) -> None:
        self._rt = runtime
        self._settled = settled
        self._signing = signing
        self._passwords = Passwords()

    async def iam_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return self._rt.settings.configure(message)
