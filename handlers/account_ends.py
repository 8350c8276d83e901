"""Stream ``account/…``: the end of an account, after which its names are free again."""

from datetime import datetime
from typing import ClassVar

from mulligan.events import account as ev
from mulligan.handlers import names
from mulligan.handlers.account import Account, require_other_admin, with_witness
from mulligan.handlers.certificates import certificate_stream, released
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.model import AccountId, StreamId, stream_id


class DeleteAccount(Command, frozen=True, kw_only=True):
    """Delete an account, or an application credential; ``by`` is who asks, if it is an account."""

    NAME: ClassVar = "account.delete"
    account: AccountId
    by: AccountId = AccountId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the account, the one that asks, its name and its certificates."""
        streams = with_witness(self.account, self.by)
        state: Account | None = states.get(streams[0])
        if state is None:
            return streams
        streams.append(names.name_stream("account", state.name, scope_of(state)))
        return streams + [certificate_stream(c.fingerprint) for c in state.certificates]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Delete it, unless it may be the last administrator."""
        state = existing(states, "account", self.account, Account)
        require_other_admin(states, state, self.by, now)
        changes = [Change(stream_id("account", self.account), ev.AccountDeleted())]
        changes += names.free(states, "account", state.name, state.id, scope_of(state))
        for certificate in state.certificates:
            changes += released(states, state.id, certificate.fingerprint)
        return changes


def scope_of(state: Account) -> str:
    """Return the scope of an account's name: the region, or the account that owns it."""
    return state.owner or names.REGION_SCOPE
