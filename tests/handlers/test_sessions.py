"""When a session is over, and which roles its tokens may use: never more than is held now."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec.structs import replace

from mulligan.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from mulligan.handlers import account as accounts
from mulligan.handlers import account_ends, certificates, project, sessions
from mulligan.handlers.account import Account, Binding, ClientCertificate, EndedSession, Project
from mulligan.handlers.application import CreateApplication
from mulligan.handlers.authority import (
    SessionClaims,
    check_session,
    credential_of_certificate,
    held_by,
    roles_in,
)
from mulligan.handlers.decision import Command
from mulligan.handlers.roles import PROJECT_ROLES, SYSTEM_ROLES, grants, with_lesser
from mulligan.model import AccountId, ProjectId, stream_id
from mulligan.proto.v1 import PERMISSIONS

from .given import HOUR, NOON, Given, types

ANN, BOB, CI = AccountId("ann"), AccountId("bob"), AccountId("ci")
WEB, API = ProjectId("web"), ProjectId("api")
PRINT = "ab" * 32
CERTIFICATE = ClientCertificate(PRINT, "CN=ann", NOON + HOUR)
TICK = timedelta(microseconds=1)
LATER = NOON + timedelta(minutes=1)

account = Account(id=ANN, kind="user", name="ann", secret_version="1", bindings=(Binding("admin"),))
in_web = replace(account, bindings=(Binding("member", WEB),))
web, api = Project(id=WEB, name="web"), Project(id=API, name="api", parent=WEB)
session = SessionClaims(
    issued_at=NOON, session="s", credential="secret:1", roles=frozenset({"admin", "member"})
)


def checked(
    said: SessionClaims = session,
    account: Account | None = account,
    owner: Account | None = None,
    path: Sequence[Project | None] = (),
    now: datetime = LATER,
) -> frozenset[str]:
    return check_session(said, account, owner, path, now)


def test_a_session_has_the_roles_that_it_was_given_and_that_are_held_still() -> None:
    assert checked() == {"admin"}
    within = replace(session, project=API)
    assert checked(within, in_web, path=(api, web)) == {"member"}
    assert checked(within, replace(in_web, bindings=()), path=(api, web)) == frozenset()


@pytest.mark.parametrize(
    ("over", "why"),
    [
        (None, "does not exist"),
        (replace(account, deleted=True), "does not exist"),
        (replace(account, disabled_at=NOON), "disabled"),
        (replace(account, expires_at=LATER), "expired"),
        (replace(account, revoked_at=NOON), "ended"),
        (replace(account, ended=(EndedSession(NOON + HOUR, "s"),)), "ended"),
        (replace(account, secret_version="2"), "no longer valid"),
    ],
)
def test_a_session_is_over(over: Account | None, why: str) -> None:
    with pytest.raises(Unauthenticated, match=why):
        checked(account=over)


def test_a_session_that_began_after_what_was_revoked_goes_on() -> None:
    assert checked(account=replace(account, revoked_at=NOON - TICK)) == {"admin"}
    assert checked(account=replace(account, ended=(EndedSession(NOON + HOUR, "other"),)))


def test_a_certificate_proves_while_it_is_bound_and_has_not_expired() -> None:
    said = replace(session, credential=credential_of_certificate(PRINT))
    with_certificate = replace(account, certificates=(CERTIFICATE,))
    assert checked(said, with_certificate)
    for over in (account, replace(account, certificates=(replace(CERTIFICATE, fingerprint="cd"),))):
        with pytest.raises(Unauthenticated):
            checked(said, over)
    with pytest.raises(Unauthenticated):
        checked(said, with_certificate, now=CERTIFICATE.expires_at)


@pytest.mark.parametrize("credential", ["secret:", "cert:", "password:1", "secret", ":"])
def test_a_credential_that_names_nothing_proves_nothing(credential: str) -> None:
    with pytest.raises(Unauthenticated):
        checked(replace(session, credential=credential), replace(account, secret_version=""))


@pytest.mark.parametrize(
    "path",
    [
        (),
        (None,),
        (api, None),
        (replace(api, disabled_at=NOON), web),
        (api, replace(web, disabled_at=NOON)),
        (api, replace(web, deleted=True)),
    ],
)
def test_a_project_that_is_disabled_or_gone_takes_those_under_it_along(
    path: Sequence[Project | None],
) -> None:
    with pytest.raises(Unauthenticated, match="project"):
        checked(replace(session, project=API), in_web, path=path)


ROLES = st.sampled_from([*SYSTEM_ROLES, *PROJECT_ROLES])
BINDINGS = st.lists(
    st.builds(Binding, ROLES, st.sampled_from([ProjectId(""), WEB, API])), max_size=6
)
ACCOUNTS = st.builds(
    Account,
    id=st.just(ANN),
    kind=st.just("user"),
    name=st.just("ann"),
    secret_version=st.sampled_from(["1", "2"]),
    bindings=BINDINGS.map(tuple),
    disabled_at=st.sampled_from([None, None, NOON]),
    expires_at=st.sampled_from([None, NOON, NOON + HOUR]),
    revoked_at=st.sampled_from([None, NOON - TICK, NOON]),
    deleted=st.sampled_from([False, False, True]),
)


@for_all(
    st.frozensets(ROLES),
    ACCOUNTS,
    ACCOUNTS,
    st.sampled_from([(), (web,), (api, web)]),
    st.booleans(),
)
def test_no_token_has_a_role_that_its_account_or_owner_has_not(
    roles: frozenset[str], one: Account, owner: Account, path: tuple[Project, ...], owned: bool
) -> None:
    said = replace(session, roles=roles, project=path[0].id if path else ProjectId(""))
    acting = replace(one, kind="application", owner=BOB) if owned else one
    ids = [p.id for p in path]
    try:
        usable = check_session(said, acting, owner if owned else None, path, LATER)
    except Unauthenticated:
        return
    assert usable <= roles & roles_in(one, ids)
    if owned:
        assert usable <= with_lesser(held_by(owner, None, ids, LATER))


@pytest.fixture
def given() -> Given:
    given = Given()
    given.do(project.CreateProject(project=WEB, name="web"))
    given.do(project.CreateProject(project=API, name="api", parent=WEB))
    for key in (ANN, BOB):
        given.do(
            accounts.CreateAccount(
                account=key,
                name=key,
                kind="user",
                secret_version="1",
                bindings=(Binding("admin"), Binding("member", WEB)),
            )
        )
    return given


def state(given: Given, key: AccountId = ANN) -> Account:
    found: Account = given.states[stream_id("account", key)]
    return found


def test_a_session_is_ended_once_and_forgotten_when_it_would_have_ended(given: Given) -> None:
    end = sessions.EndSession(account=ANN, session="s", until=NOON + HOUR)
    assert types(given.do(end)) == ["account.session_revoked"]
    assert given.do(end) == []
    given.now = NOON + 2 * HOUR
    given.do(sessions.EndSession(account=ANN, session="t", until=NOON + 3 * HOUR))
    assert [ended.session for ended in state(given).ended] == ["t"]


def test_one_session_too_many_ends_them_all(given: Given) -> None:
    for number in range(sessions.MAX_ENDED):
        given.do(sessions.EndSession(account=ANN, session=f"{number}", until=NOON + HOUR))
    end = sessions.EndSession(account=ANN, session="more", until=NOON + HOUR)
    assert types(given.do(end)) == ["account.tokens_revoked"]
    assert state(given).ended == ()
    assert state(given).revoked_at == NOON


def test_a_disabled_account_has_no_session_left_when_it_is_enabled(given: Given) -> None:
    given.do(accounts.SetDisabled(account=ANN, disabled=True, by=BOB))
    given.do(accounts.SetDisabled(account=ANN, disabled=False))
    with pytest.raises(Unauthenticated):
        checked(account=state(given))


def test_a_secret_replaces_the_one_it_was_meant_to(given: Given) -> None:
    given.do(accounts.SetSecret(account=ANN, version="2", replaces="1"))
    with pytest.raises(Conflict):
        given.do(accounts.SetSecret(account=ANN, version="3", replaces="1"))


def test_a_certificate_is_one_account_s_until_it_is_removed(given: Given) -> None:
    add = certificates.AddCertificate(account=ANN, certificate=CERTIFICATE)
    assert types(given.do(add)) == ["account.certificate_bound", "name.assigned"]
    assert given.do(add) == []
    with pytest.raises(AlreadyExists):
        given.do(certificates.AddCertificate(account=BOB, certificate=CERTIFICATE))
    given.do(certificates.RemoveCertificate(account=ANN, fingerprint=PRINT))
    with pytest.raises(NotFound):
        given.do(certificates.RemoveCertificate(account=ANN, fingerprint=PRINT))
    given.do(certificates.AddCertificate(account=BOB, certificate=CERTIFICATE))


def test_an_account_has_so_many_certificates_and_no_expired_one(given: Given) -> None:
    with pytest.raises(InvalidArgument, match="expired"):
        past = replace(CERTIFICATE, expires_at=NOON)
        given.do(certificates.AddCertificate(account=ANN, certificate=past))
    for number in range(accounts.MAX_CERTIFICATES):
        one = replace(CERTIFICATE, fingerprint=f"{number:064x}")
        given.do(certificates.AddCertificate(account=ANN, certificate=one))
    with pytest.raises(FailedPrecondition, match="most"):
        given.do(certificates.AddCertificate(account=ANN, certificate=CERTIFICATE))


def application(**changes: object) -> CreateApplication:
    usual = CreateApplication(
        account=CI,
        owner=ANN,
        name="ci",
        roles=frozenset({"member"}),
        secret_version="1",
        project=API,
    )
    return replace(usual, **changes)


def test_an_application_credential_gets_roles_that_its_owner_holds_there(given: Given) -> None:
    given.do(application(roles=frozenset({"member", "admin"})))
    assert state(given, CI).bindings == (Binding("admin"), Binding("member", API))
    assert state(given, CI).owner == ANN
    with pytest.raises(InvalidArgument, match="roles"):
        given.do(application(account=AccountId("more"), name="more", roles=frozenset({"king"})))
    with pytest.raises(FailedPrecondition, match="no role"):
        given.do(application(account=AccountId("none"), name="none", roles=frozenset()))


def test_an_application_credential_makes_no_other_and_ends_ahead(given: Given) -> None:
    with pytest.raises(InvalidArgument, match="expires_at"):
        given.do(application(expires_at=NOON))
    given.do(application(expires_at=NOON + HOUR))
    with pytest.raises(PermissionDenied):
        given.do(application(account=AccountId("child"), owner=CI))
    for command in (
        accounts.SetSecret(account=CI, version="2"),
        accounts.BindRole(account=CI, binding=Binding("reader", WEB)),
        certificates.AddCertificate(account=CI, certificate=CERTIFICATE),
    ):
        with pytest.raises(FailedPrecondition, match="application credential"):
            given.do(command)


def test_names_of_application_credentials_are_their_owner_s(given: Given) -> None:
    given.do(application())
    with pytest.raises(AlreadyExists):
        given.do(application(account=AccountId("again")))
    given.do(application(account=AccountId("bobs"), owner=BOB))
    given.do(account_ends.DeleteAccount(account=CI))
    given.do(application(account=AccountId("again")))


def test_a_deleted_account_gives_back_its_name_and_certificates(given: Given) -> None:
    given.do(certificates.AddCertificate(account=ANN, certificate=CERTIFICATE))
    given.do(account_ends.DeleteAccount(account=ANN, by=BOB))
    assert state(given).bindings == ()
    given.do(accounts.CreateAccount(account=AccountId("other"), name="ann", kind="user"))
    given.do(certificates.AddCertificate(account=BOB, certificate=CERTIFICATE))
    with pytest.raises(NotFound):
        given.do(account_ends.DeleteAccount(account=ANN, by=BOB))


def ends_of(account: AccountId, by: AccountId) -> list[Command]:
    return [
        account_ends.DeleteAccount(account=account, by=by),
        accounts.SetDisabled(account=account, disabled=True, by=by),
        accounts.BindRole(account=account, binding=Binding("admin"), bound=False, by=by),
    ]


def test_whatever_is_done_an_administrator_is_left(given: Given) -> None:
    for number in range(3):
        for by in (ANN, AccountId("")):  # itself, or nobody who holds the role
            with pytest.raises(FailedPrecondition):
                given.do(ends_of(ANN, by)[number])
    given.do(ends_of(BOB, ANN)[1])
    for command in ends_of(ANN, BOB):  # the one that would be left is out itself
        with pytest.raises(FailedPrecondition, match="last administrator"):
            given.do(command)


def test_a_disabled_project_takes_nothing_new(given: Given) -> None:
    given.do(project.SetProjectDisabled(project=WEB, disabled=True))
    assert given.do(project.SetProjectDisabled(project=WEB, disabled=True)) == []
    with pytest.raises(FailedPrecondition, match="web is disabled"):
        given.do(project.CreateProject(project=ProjectId("x"), name="x", parent=API))
    with pytest.raises(FailedPrecondition, match="web is disabled"):
        given.do(application())
    given.do(project.SetProjectDisabled(project=WEB, disabled=False))
    given.do(application())


def test_a_project_is_deleted_when_it_is_disabled(given: Given) -> None:
    with pytest.raises(FailedPrecondition, match="disable it first"):
        given.do(project.DeleteProject(project=API))
    given.do(project.SetProjectDisabled(project=API, disabled=True))
    given.do(project.DeleteProject(project=API))
    given.do(project.CreateProject(project=ProjectId("new"), name="api", parent=WEB))
    with pytest.raises(NotFound):
        given.do(project.CreateProject(project=ProjectId("x"), name="x", parent=API))
    with pytest.raises(NotFound):
        given.do(accounts.BindRole(account=ANN, binding=Binding("reader", API)))


@pytest.mark.parametrize("role", [*SYSTEM_ROLES, *PROJECT_ROLES])
def test_a_lesser_role_grants_nothing_that_the_greater_one_does_not(role: str) -> None:
    for lesser in with_lesser({role}):
        beyond = [p for p in PERMISSIONS.values() if grants({lesser}, p) and not grants({role}, p)]
        assert not beyond, lesser


def test_a_lesser_role_is_not_a_greater_one() -> None:
    for role, greater in (("reader", "member"), ("member", "owner"), ("auditor", "operator")):
        assert greater not in with_lesser({role})
    assert "admin" not in with_lesser({"operator", "owner"})


def test_who_owns_a_project_can_make_a_credential_that_only_reads(given: Given) -> None:
    given.do(application(account=AccountId("watch"), name="watch", roles=frozenset({"reader"})))
