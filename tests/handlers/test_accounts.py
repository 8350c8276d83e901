import pytest

from mulligan.errors import AlreadyExists, InvalidArgument, NotFound
from mulligan.handlers import account as accounts
from mulligan.handlers import project as projects
from mulligan.handlers import roles
from mulligan.handlers.account import Account, Binding
from mulligan.model import AccountId, ProjectId, stream_id

from .given import NOON, Given, types

ANN = AccountId("ann")
WEB = ProjectId("web")


@pytest.fixture
def given() -> Given:
    given = Given()
    given.do(projects.CreateProject(project=WEB, name="web"))
    given.do(accounts.CreateAccount(account=ANN, name="ann", kind="user", secret_version="1"))
    return given


def ann(given: Given) -> Account:
    state: Account = given.states[stream_id("account", ANN)]
    return state


def test_an_account_is_created_with_its_secret_and_roles() -> None:
    given = Given()
    command = accounts.CreateAccount(
        account=ANN, name="ann", kind="user", secret_version="1", bindings=(Binding("admin"),)
    )
    assert types(given.do(command)) == [
        "name.assigned",
        "account.created",
        "account.secret_set",
        "account.role_bound",
    ]
    assert ann(given).bindings == (Binding("admin"),)


def test_an_account_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="kind"):
        Given().do(accounts.CreateAccount(account=ANN, name="ann", kind="robot"))


def test_a_login_name_is_taken_once(given: Given) -> None:
    other = accounts.CreateAccount(account=AccountId("b"), name="Ann", kind="user")
    with pytest.raises(AlreadyExists):
        given.do(other)


def test_a_secret_is_replaced_by_version(given: Given) -> None:
    given.do(accounts.SetSecret(account=ANN, version="2"))
    assert ann(given).secret_version == "2"
    with pytest.raises(NotFound):
        given.do(accounts.SetSecret(account=AccountId("nobody"), version="2"))


def test_disabling_twice_is_one_event_and_keeps_the_first_time(given: Given) -> None:
    disable = accounts.SetDisabled(account=ANN, disabled=True)
    assert types(given.do(disable)) == ["account.disabled"]
    assert given.do(disable) == []
    assert ann(given).disabled_at == NOON
    assert types(given.do(accounts.SetDisabled(account=ANN, disabled=False))) == ["account.enabled"]
    assert ann(given).disabled_at is None


def test_roles_are_bound_and_unbound_once(given: Given) -> None:
    bind = accounts.BindRole(account=ANN, binding=Binding("member", WEB))
    unbind = accounts.BindRole(account=ANN, binding=Binding("member", WEB), bound=False)
    assert given.do(unbind) == []
    assert types(given.do(bind)) == ["account.role_bound"]
    assert given.do(bind) == []
    assert types(given.do(unbind)) == ["account.role_unbound"]
    assert ann(given).bindings == ()


@pytest.mark.parametrize(
    "binding", [Binding("member"), Binding("admin", WEB), Binding("king"), Binding("king", WEB)]
)
def test_a_role_is_refused_at_the_wrong_level(given: Given, binding: Binding) -> None:
    with pytest.raises(InvalidArgument, match="role"):
        given.do(accounts.BindRole(account=ANN, binding=binding))


def test_a_role_needs_its_project(given: Given) -> None:
    with pytest.raises(NotFound, match="project"):
        given.do(accounts.BindRole(account=ANN, binding=Binding("member", ProjectId("db"))))


def test_a_project_needs_its_parent(given: Given) -> None:
    child = projects.CreateProject(project=ProjectId("api"), name="api", parent=WEB)
    assert types(given.do(child)) == ["name.assigned", "project.created"]
    orphan = projects.CreateProject(project=ProjectId("x"), name="x", parent=ProjectId("none"))
    with pytest.raises(NotFound):
        given.do(orphan)


@pytest.mark.parametrize(
    ("role", "permission", "granted"),
    [
        ("admin", "anything.at.all", True),
        ("operator", "control.machines.write", True),
        ("operator", "iam.accounts.read", True),
        ("operator", "iam.accounts.write", False),
        ("auditor", "resource.claims.read", True),
        ("auditor", "resource.claims.write", False),
        ("auditor", "log.verify", True),
        ("member", "resource.claims.write", True),
        ("member", "control.machines.use", True),
        ("member", "control.machines.write", False),
        ("reader", "resource.claims.write", False),
        ("reader", "control.machines.use", False),
        ("nothing", "log.read", False),
    ],
)
def test_what_a_role_grants(role: str, permission: str, granted: bool) -> None:
    assert roles.grants([role], permission) is granted
