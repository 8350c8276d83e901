"""Stream ``account/…``: ending the sessions of an account, one of them or all."""

from datetime import datetime
from typing import ClassVar

from mulligan.events import account as ev
from mulligan.handlers.account import Account
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.model import AccountId, ProjectId, StreamId, stream_id

MAX_ENDED = 256
"""So many ended sessions are kept in mind; one more ends all sessions of the account."""


class OpenSession(Command, frozen=True, kw_only=True):
    """Put on record that an account logged in; it has proven itself, and may."""

    NAME: ClassVar = "account.login"
    account: AccountId
    session: str
    credential: str
    until: datetime
    project: ProjectId = ProjectId("")
    peer: str = ""

    def reads(self, states: States) -> list[StreamId]:
        """Read the account."""
        return [stream_id("account", self.account)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Note it, as long as the account is there."""
        existing(states, "account", self.account, Account)
        event = ev.SessionOpened(
            session=self.session,
            credential=self.credential,
            until=self.until,
            project=self.project,
            peer=self.peer,
        )
        return [Change(stream_id("account", self.account), event)]


class RevokeTokens(Command, frozen=True, kw_only=True):
    """End every session of an account that has begun."""

    NAME: ClassVar = "account.revoke_tokens"
    account: AccountId

    def reads(self, states: States) -> list[StreamId]:
        """Read the account."""
        return [stream_id("account", self.account)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Note the time up to which nothing is honoured."""
        existing(states, "account", self.account, Account)
        return [Change(stream_id("account", self.account), ev.TokensRevoked(at=now))]


class EndSession(Command, frozen=True, kw_only=True):
    """End one session, whose last token would have ended at ``until``.

    Where too many ended ones have to be kept in mind already, every session is ended instead.
    """

    NAME: ClassVar = "account.end_session"
    account: AccountId
    session: str
    until: datetime

    def reads(self, states: States) -> list[StreamId]:
        """Read the account."""
        return [stream_id("account", self.account)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """End it once."""
        state = existing(states, "account", self.account, Account)
        kept = [ended for ended in state.ended if ended.until > now]
        if any(ended.session == self.session for ended in kept):
            return []
        stream = stream_id("account", self.account)
        if len(kept) >= MAX_ENDED:
            return [Change(stream, ev.TokensRevoked(at=now))]
        return [Change(stream, ev.SessionRevoked(session=self.session, until=self.until))]
