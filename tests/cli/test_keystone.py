"""What Keystone's listings become here."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.cli.keystone_files import Listings, read_listings
from mulligan.cli.keystone_plan import Existing, Options, Plan, plan, uuid_of
from mulligan.errors import InvalidArgument

DOMAIN, OTHER = "default", "d" * 32
RED, DEV, BLUE = "1" * 32, "2" * 32, "3" * 32
RITA, BERT, BOT = "a" * 32, "b" * 32, "c" * 32
ROLES = {"r1": "admin", "r2": "member", "r3": "reader", "r4": "swiftoperator"}
BASE = "http://keystone.example/v3"


def project(id: str, name: str, parent: str = DOMAIN, **more: Any) -> dict[str, Any]:
    return {"id": id, "name": name, "domain_id": DOMAIN, "parent_id": parent, **more}


def user(id: str, name: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "name": name, "domain_id": DOMAIN, "enabled": True, **more}


def assignment(role: str, holder: dict[str, Any], scope: dict[str, Any]) -> dict[str, Any]:
    return {"role": {"id": role}, "scope": scope, **holder}


def on(project: str, *, inherited: bool = False) -> dict[str, Any]:
    below = {"OS-INHERIT:inherited_to": "projects"} if inherited else {}
    return {"project": {"id": project}, **below}


def of(user: str) -> dict[str, Any]:
    return {"user": {"id": user}}


USERS = [user(RITA, "rita"), user(BERT, "bert"), user(BOT, "bot", enabled=False)]
PROJECTS = [project(RED, "red"), project(DEV, "red-dev", RED), project(BLUE, "blue", enabled=False)]


def listings(folder: Path, *answers: dict[str, Any]) -> Listings:
    files = []
    for number, answer in enumerate(answers):
        file = folder / f"{number}.json"
        file.write_text(json.dumps(answer))
        files.append(str(file))
    return read_listings(files)


def planned(
    folder: Path,
    *assignments: dict[str, Any],
    users: list[dict[str, Any]] = USERS,
    projects: list[dict[str, Any]] = PROJECTS,
    options: Options | None = None,
    existing: Existing | None = None,
    more: tuple[dict[str, Any], ...] = (),
) -> Plan:
    found = listings(
        folder,
        {"users": users, "links": {"self": f"{BASE}/users", "next": None}},
        {"projects": projects},
        {"roles": [{"id": id, "name": name} for id, name in ROLES.items()]},
        {"domains": [{"id": DOMAIN, "name": "Default"}, {"id": OTHER, "name": "lab"}]},
        {"role_assignments": list(assignments)},
        *more,
    )
    return plan(found, options or Options(), existing or Existing())


def bindings(plan: Plan) -> set[tuple[str, str, str]]:
    """Return the roles with the names of accounts and projects."""
    names = {**plan.names, "": "system"}
    return {(names[b.account], b.role, names[b.project]) for b in plan.bindings}


def test_objects_keep_their_ids_and_parents_come_first(tmp_path: Path) -> None:
    made = planned(tmp_path)
    assert [(one.name, one.parent, one.depth) for one in made.projects] == [
        ("blue", "", 0),
        ("red", "", 0),
        ("red-dev", uuid_of(RED), 1),
    ]
    assert {one.name: one.uuid for one in made.accounts}["rita"] == uuid_of(RITA)
    assert uuid_of(RITA).replace("-", "") == RITA


def test_the_disabled_are_made_and_disabled(tmp_path: Path) -> None:
    made = planned(tmp_path)
    assert made.disable_accounts == (uuid_of(BOT),)
    assert made.disable_projects == (uuid_of(BLUE),)


def test_roles_become_ours_by_their_scope(tmp_path: Path) -> None:
    made = planned(
        tmp_path,
        assignment("r1", of(RITA), on(BLUE)),
        assignment("r2", of(BERT), on(BLUE)),
        assignment("r1", of(RITA), {"system": {"all": True}}),
        assignment("r3", of(BERT), {"system": {"all": True}}),
    )
    assert bindings(made) == {
        ("rita", "owner", "blue"),
        ("bert", "member", "blue"),
        ("rita", "admin", "system"),
        ("bert", "auditor", "system"),
    }
    assert made.notes == ()


def test_an_admin_of_a_project_gets_no_more_than_that_project(tmp_path: Path) -> None:
    made = planned(tmp_path, assignment("r1", of(RITA), on(BLUE)))
    assert {b.project for b in made.bindings} == {uuid_of(BLUE)}
    assert {b.role for b in made.bindings} == {"owner"}


def test_an_unknown_role_is_left_out_and_told(tmp_path: Path) -> None:
    odd = assignment("r4", of(RITA), on(BLUE))
    made = planned(tmp_path, odd, assignment("r4", of(BERT), on(BLUE)))
    assert not made.bindings
    assert "swiftoperator" in made.notes[0]
    assert "(2 assignments)" in made.notes[0]
    mapped = planned(tmp_path, odd, options=Options(roles={"swiftoperator": "member"}))
    assert bindings(mapped) == {("rita", "member", "blue")}
    dropped = planned(tmp_path, odd, options=Options(roles={"swiftoperator": "none"}))
    assert (dropped.bindings, dropped.notes) == ((), ())


def test_a_role_cannot_become_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="--role member: 'king' is not one of"):
        planned(tmp_path, options=Options(roles={"member": "king"}))


def test_what_is_inherited_from_a_project_is_given_below_it_only(tmp_path: Path) -> None:
    made = planned(tmp_path, assignment("r2", of(BERT), on(RED, inherited=True)))
    assert bindings(made) == {("bert", "member", "red-dev")}


def test_what_is_inherited_from_a_domain_is_given_at_its_roots(tmp_path: Path) -> None:
    scope = {"domain": {"id": DOMAIN}, "OS-INHERIT:inherited_to": "projects"}
    made = planned(tmp_path, assignment("r3", of(RITA), scope))
    assert bindings(made) == {("rita", "reader", "red"), ("rita", "reader", "blue")}
    flat = planned(tmp_path, assignment("r3", of(RITA), scope), options=Options(flat=True))
    assert ("rita", "reader", "red-dev") in bindings(flat)


def test_that_a_role_reaches_further_here_is_told_and_can_be_avoided(tmp_path: Path) -> None:
    given = assignment("r2", of(BERT), on(RED))
    assert any("--flat" in note for note in planned(tmp_path, given).notes)
    flat = planned(tmp_path, given, options=Options(flat=True))
    assert flat.notes == ()
    assert {one.parent for one in flat.projects} == {""}


def test_groups_are_taken_apart_where_their_members_are_known(tmp_path: Path) -> None:
    given = assignment("r2", {"group": {"id": "g1"}}, on(BLUE))
    members = {
        "users": [user(RITA, "rita"), user(BERT, "bert")],
        "links": {"self": f"{BASE}/groups/g1/users"},
    }
    made = planned(tmp_path, given, more=(members,))
    assert bindings(made) == {("rita", "member", "blue"), ("bert", "member", "blue")}
    unknown = planned(tmp_path, given)
    assert not unknown.bindings
    assert "/v3/groups/g1/users" in unknown.notes[0]


def test_a_second_import_makes_only_what_is_new(tmp_path: Path) -> None:
    given = assignment("r2", of(RITA), on(BLUE))
    first = planned(tmp_path, given)
    existing = Existing(
        projects={one.uuid: one.name for one in first.projects},
        accounts={one.uuid: one.name for one in first.accounts},
        bindings=frozenset(map(tuple, first.bindings)),  # type: ignore[arg-type]
        disabled=frozenset((*first.disable_accounts, *first.disable_projects)),
    )
    again = planned(tmp_path, given, existing=existing)
    assert (again.projects, again.accounts, again.bindings) == ((), (), ())
    assert (again.disable_accounts, again.disable_projects) == ((), ())
    assert again.unchanged == len(PROJECTS) + len(USERS) + 1


def test_a_name_that_is_taken_is_refused_adopted_or_left_out(tmp_path: Path) -> None:
    here = Existing(accounts={"0" * 8 + "-0000-7000-8000-000000000001": "Rita"})
    given = assignment("r2", of(RITA), on(BLUE))
    with pytest.raises(InvalidArgument, match="user rita: the name is taken here"):
        planned(tmp_path, given, existing=here)
    adopted = planned(tmp_path, given, existing=here, options=Options(adopt=True))
    assert [b.account for b in adopted.bindings] == list(here.accounts)
    left = planned(tmp_path, given, existing=here, options=Options(without=frozenset({"rita"})))
    assert not left.bindings
    assert "rita" not in {one.name for one in left.accounts}


def test_names_that_do_not_fit_or_clash_are_told_all_at_once_and_can_be_tidied(
    tmp_path: Path,
) -> None:
    users = [
        user(RITA, "rita@example.com"),
        user(BERT, "bert"),
        user(BOT, "bert", domain_id=OTHER),
    ]
    with pytest.raises(InvalidArgument) as refused:
        planned(tmp_path, users=users)
    assert len(refused.value.violations) == 3
    tidied = planned(tmp_path, users=users, options=Options(tidy=True))
    names = {one.name for one in tidied.accounts}
    assert names == {"rita-example.com", "Default-bert", "lab-bert"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "is a JSON array"),
        ("{}", "holds none of users"),
        ("no", "is no answer of the Identity API"),
        ('{"users": [{"name": "x"}]}', "missing required field"),
        ('{"users": [], "links": {"next": "http://k/v3/users?marker=1"}}', "next one"),
    ],
)
def test_a_file_that_is_no_listing_says_what_is_wrong(
    tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(InvalidArgument, match=problem):
        read_listings([str(file)])


def is_below_itself(id: str, above: dict[str, str]) -> bool:
    """Tell whether the way up from a project leads back to it."""
    seen, parent = set[str](), above.get(id)
    while parent is not None and parent not in seen:
        if parent == id:
            return True
        seen.add(parent)
        parent = above.get(parent)
    return False


IDS = st.sampled_from([RED, DEV, BLUE, DOMAIN, OTHER, "x"])


@given(parents=st.lists(IDS, min_size=3, max_size=3), flat=st.booleans())
def test_any_tree_is_planned_with_parents_first_and_a_ring_refused(
    tmp_path_factory: pytest.TempPathFactory, parents: list[str], flat: bool
) -> None:
    projects = [
        project(id, f"p{n}", parent)
        for n, (id, parent) in enumerate(zip((RED, DEV, BLUE), parents, strict=True))
    ]
    given = [assignment("r2", of(RITA), on(RED, inherited=True))]
    folder = tmp_path_factory.mktemp("tree")
    above = dict(zip((RED, DEV, BLUE), parents, strict=True))
    if any(is_below_itself(id, above) for id in above):
        with pytest.raises(InvalidArgument, match="among its own parents"):
            planned(folder, projects=projects)
        return
    made = planned(folder, *given, projects=projects, options=Options(flat=flat))
    done: set[str] = {""}
    for one in made.projects:
        assert one.parent in done
        done.add(one.uuid)
    assert all(b.project in done for b in made.bindings)
