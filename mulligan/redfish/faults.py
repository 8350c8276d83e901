"""What can go wrong with a BMC or an image, as classes that say whether waiting helps.

    BmcFault         something a step could not do; ``fault`` is its class, one key of ``HEALS``
    └── Ambiguous    a write was sent and its outcome is not known: look before deciding

Messages are written for the operator: they name the BMC, what happened and what to do.
"""

from collections.abc import Mapping
from types import MappingProxyType

HEALS: Mapping[str, bool] = MappingProxyType(
    {
        # transport
        "unreachable": True,
        "timeout": True,
        "dropped": True,
        "tls": False,
        # who we are
        "bad-credentials": False,
        "forbidden": False,
        "password-refused": False,
        # what answered
        "not-redfish": False,
        "bad-answer": True,
        "server-error": True,
        "busy": True,
        "unsupported": False,
        "refused": False,
        "no-such-system": False,
        "ambiguous-system": False,
        # what came of a write
        "ambiguous": True,
        "not-applied": True,
        "not-ready": True,
        "unknown-outcome": False,
        # images
        "image-unavailable": True,
        "image-missing": False,
        "image-too-large": False,
        "checksum-mismatch": False,
        "disk-full": True,
        # the request itself
        "bad-params": False,
    }
)
"""Every class of fault; true when trying again later may succeed without anybody's help."""


class BmcFault(Exception):
    """A step met a trouble of the machine's side; ``status`` is the HTTP status, 0 if none.

    ``retry_after`` is how long the BMC asked to be left alone, in seconds; 0 when it did not.
    ``password`` is the version of the login that was seen to work all the same, if one was tried.
    """

    def __init__(self, fault: str, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.heals = HEALS[fault]
        self.status = status
        self.retry_after = 0.0
        self.password = ""


class Ambiguous(BmcFault):
    """A write may or may not have been applied. Never send it again before looking."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__("ambiguous", message, status=status)
