"""How much redundancy etcd has left: who of its members is away. Pure."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mulligan.diagnosis.problem import Problem, critical, warning

if TYPE_CHECKING:
    from mulligan.diagnosis.found import Status
    from mulligan.proto.v1 import EtcdMember

_NEXT = (
    "start it on its host, or see its log and etcdctl endpoint status --cluster; one that will not"
    " come back is replaced: docs/operations.md#a-member-of-etcd-is-lost"
)


def members_of(found: "Status") -> "list[EtcdMember]":
    """Return etcd's members; one is away if nobody who asked it got an answer.

    Empty where no archiver answered, or none is of a release that asks.
    """
    members: dict[str, EtcdMember] = {}
    for seen in found.instances:
        for one in seen.instance.etcd_members:
            known = members.get(one.id)
            if known is None or (known.problem and not one.problem):
                members[one.id] = one
    return list(members.values())


def members_shown(found: "Status") -> str:
    """Return how many members there are and answer, in a few words; empty where nobody knows."""
    members = members_of(found)
    if not members:
        return ""
    if len(members) == 1:
        return "1 member: no redundancy" if not members[0].problem else "1 member, and it is away"
    there = sum(1 for one in members if not one.problem)
    return f"{len(members)} members, {'all' if there == len(members) else there} answer"


def member_problems(found: "Status") -> Iterator[Problem]:
    """Yield that members are away, and how many more may be lost until nothing can be written."""
    members = members_of(found)
    away = [one for one in members if one.problem]
    if len(members) < 2 or not away:
        return
    voting = [one for one in members if not one.learner]
    spare = sum(1 for one in voting if not one.problem) - (len(voting) // 2 + 1)
    told = "; ".join(f"{called(one)} is away: {one.problem}" for one in away)
    what = f"etcd has {len(members)} members and {len(members) - len(away)} answer: {told}"
    if spare < 0:
        yield critical("etcd", f"{what}; that is no majority, so nothing can be written", _NEXT)
    elif spare == 0:
        yield warning("etcd", f"{what}; one more lost stops all writing", _NEXT)
    else:
        yield warning("etcd", f"{what}; {spare} more may be lost, not {spare + 1}", _NEXT)


def called(member: "EtcdMember") -> str:
    """Return what a member is called, and where it is to be found."""
    name = member.name or f"member {member.id}"
    return f"{name} at {', '.join(member.addresses)}" if member.addresses else name
