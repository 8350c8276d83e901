"""What a request binds to a tree: sets of its groups that are to be met in one tree together."""

from collections.abc import Sequence

import msgspec

from mulligan.events.request import CapabilityDemand, ClaimRequest, RequestGroup
from mulligan.placement.eligibility import split


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """Groups that one tree is to meet.

    With ``pools``, groups of one provider may use the pools of the tree; split groups always may.
    ``root`` is what the top of the tree must have. ``exact`` is false where trees that do not
    pass could matter after all.
    """

    groups: tuple[RequestGroup, ...]
    pools: bool = False
    root: CapabilityDemand = CapabilityDemand()
    exact: bool = True

    @property
    def uses_pools(self) -> bool:
        """Whether anything outside of the tree may be chosen."""
        return self.pools or any(split(g) and not g.in_tree for g in self.groups)


def bundles(request: ClaimRequest) -> Sequence[Bundle]:
    """Return what is bound to trees: none for a request of groups that each stand alone."""
    if request.same_tree:
        return (Bundle(groups=request.groups, pools=True, root=request.root_capabilities),)
    return tuple(_bundle(request, names) for names in _joined(request))


def _joined(request: ClaimRequest) -> list[set[str]]:
    """Join the groups that same_subtree ties together; split groups stand by themselves."""
    known = {group.name for group in request.groups}
    found = [{group.name} for group in request.groups if split(group)]
    for names in request.same_subtree:
        members = set(names) & known
        touching = [one for one in found if one & members]
        found = [one for one in found if not one & members]
        if members:
            found.append(members.union(*touching))
    return found


def _bundle(request: ClaimRequest, names: set[str]) -> Bundle:
    groups = tuple(group for group in request.groups if group.name in names)
    divided = any(split(group) for group in groups)
    if len(groups) == 1 or not divided:
        return Bundle(groups=groups, root=request.root_capabilities)
    # Suppliers in one subtree may be pools of several trees, whose tops are what counts then.
    return Bundle(groups=groups, exact=request.root_capabilities == CapabilityDemand())
