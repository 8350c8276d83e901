"""Stream ``account/…``: client certificates that prove an account, each of them one account."""

from datetime import datetime
from typing import ClassVar

from mulligan.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from mulligan.events import account as ev
from mulligan.events.name import NameAssigned, NameReleased
from mulligan.handlers.account import (
    MAX_CERTIFICATES,
    Account,
    ClientCertificate,
    refuse_application,
)
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.handlers.names import REGION_SCOPE, NameState
from mulligan.model import AccountId, StreamId, stream_id


def certificate_stream(fingerprint: str) -> StreamId:
    """Name the stream that says whose a certificate is."""
    return stream_id("name", f"certificate/{REGION_SCOPE}/{fingerprint}")


def released(states: States, account: AccountId, fingerprint: str) -> list[Change]:
    """Let go of a certificate that is the account's."""
    stream = certificate_stream(fingerprint)
    held: NameState | None = states.get(stream)
    if held is None or held.object != account:
        return []
    return [Change(stream, NameReleased(object=account))]


class AddCertificate(Command, frozen=True, kw_only=True):
    """Let an account log in with a certificate."""

    NAME: ClassVar = "account.add_certificate"
    account: AccountId
    certificate: ClientCertificate

    def reads(self, states: States) -> list[StreamId]:
        """Read the account and whose the certificate is."""
        return [
            stream_id("account", self.account),
            certificate_stream(self.certificate.fingerprint),
        ]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Bind it to this account and to no other."""
        state = existing(states, "account", self.account, Account)
        refuse_application(state, "has its secret only")
        one = self.certificate
        if one.expires_at <= now:
            raise InvalidArgument("pem", "the certificate has expired")
        stream = certificate_stream(one.fingerprint)
        held: NameState | None = states.get(stream)
        if held is not None and held.object == self.account:
            return []
        if held is not None and held.object:
            raise AlreadyExists("this certificate is another account's; make one for each")
        if len(state.certificates) >= MAX_CERTIFICATES:
            raise FailedPrecondition(
                f"the account has {MAX_CERTIFICATES} certificates, which is the most;"
                " remove one first"
            )
        bound = ev.CertificateBound(
            fingerprint=one.fingerprint, subject=one.subject, expires_at=one.expires_at
        )
        assigned = NameAssigned(
            kind="certificate",
            scope=REGION_SCOPE,
            name=one.fingerprint,
            slug=one.fingerprint,
            object=self.account,
        )
        return [Change(stream_id("account", self.account), bound), Change(stream, assigned)]


class RemoveCertificate(Command, frozen=True, kw_only=True):
    """Let an account log in with a certificate no more."""

    NAME: ClassVar = "account.remove_certificate"
    account: AccountId
    fingerprint: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the account and whose the certificate is."""
        return [stream_id("account", self.account), certificate_stream(self.fingerprint)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Void it; sessions that it began end by that."""
        state = existing(states, "account", self.account, Account)
        if all(c.fingerprint != self.fingerprint for c in state.certificates):
            raise NotFound("certificate", self.fingerprint)
        event = ev.CertificateUnbound(fingerprint=self.fingerprint)
        return [
            Change(stream_id("account", self.account), event),
            *released(states, self.account, self.fingerprint),
        ]
