"""What each page takes as given, and what it says in words: by the page's path below docs/."""

from collections.abc import Mapping

from tests.docs.given import fleet, hosts, log, tenants, trouble
from tests.docs.guide import Guide

GUIDES: Mapping[str, Guide] = {
    **fleet.GUIDES,
    **tenants.GUIDES,
    **trouble.GUIDES,
    **log.GUIDES,
    **hosts.GUIDES,
}
