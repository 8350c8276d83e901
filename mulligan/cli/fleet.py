"""The fleet file of ``mulligan apply``: what should exist, section by section."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from mulligan.cli.yamlfile import Document, Path
from mulligan.errors import InvalidArgument


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping that refuses keys it does not know."""


class InventorySpec(Strict, frozen=True):
    """What is offered of one class; amounts may have units."""

    total: int | str
    reserved: int | str = 0
    min_unit: int | str = 0
    max_unit: int | str = 0
    step_size: int | str = 0
    allocation_ratio: float = 1.0


Inventories = dict[str, int | str | InventorySpec]
"""By resource class; a bare amount is the total."""


class GroupSpec(Strict, frozen=True):
    """A group; members that others added stay."""

    name: str
    attributes: dict[str, str] = {}
    members: list[str] = []


class ProviderSpec(Strict, frozen=True):
    """A provider. What is left out is left alone; ``groups`` it is added to.

    ``shares`` are groups whose members may use what it has; ``distances`` are positions by type,
    then by group.
    """

    name: str
    type: Literal["machine", "compute", "storage", "network", "component"] = "compute"
    parent: str = ""
    attributes: dict[str, str] | None = None
    capabilities: list[str] | None = None
    inventories: Inventories | None = None
    shares: list[str] | None = None
    distances: dict[str, dict[str, str]] | None = None
    turnaround: int | str | None = None
    groups: list[str] = []


class QuotaSpec(Strict, frozen=True):
    """The limits of a project; ``max_lease`` is a span, or ``none``. What is left out stays."""

    limits: dict[str, int | str] | None = None
    max_lease: str = ""


class ImageSpec(Strict, frozen=True):
    """An image; it cannot be changed once it is there."""

    name: str
    url: str
    sha256: str
    kind: str = "iso"
    firmware: str = "uefi"
    ready_when: str = "power-on"


class ProfileSpec(Strict, frozen=True):
    """How machines of one make are treated; ``deadlines`` are spans by verb."""

    name: str
    manufacturer: str = "*"
    model: str = "*"
    deadlines: dict[str, int | str] = {}
    clean: list[Literal["wipe", "bios-reset"]] = []
    wipe_image: str = ""


class CredentialSpec(Strict, frozen=True):
    """A BMC login; its password is in a file or an environment variable, never here."""

    name: str
    username: str
    password_file: str = ""
    password_env: str = ""


class BmcSpec(Strict, frozen=True):
    """How a machine's BMC is reached; ``credential`` is a name or UUID.

    ``pin`` takes the certificate that the BMC shows at first contact. Of a machine that is there
    already, ``system``, ``insecure`` and ``fingerprint`` stay as they are when they are left out.
    """

    address: str
    credential: str
    system: str | int = ""
    insecure: bool | None = None
    fingerprint: str = ""
    pin: bool = False


class MachineSpec(Strict, frozen=True):
    """A machine to enrol; ``groups``, ``distances`` and ``turnaround`` are its provider's.

    ``profile`` left out leaves it as it is; ``none`` is the one that its hardware matches.
    """

    name: str
    bmc: BmcSpec
    parent: str = ""
    profile: str = ""
    distances: dict[str, dict[str, str]] | None = None
    turnaround: int | str | None = None
    groups: list[str] = []


class Fleet(Strict, frozen=True):
    """One document of the file.

    ``distance_types`` are positions by name, the nearest first; ``inventories`` are by provider,
    then by class; ``quotas`` by project.
    """

    distance_types: dict[str, list[str]] = {}
    groups: list[GroupSpec] = []
    providers: list[ProviderSpec] = []
    inventories: dict[str, Inventories] = {}
    images: list[ImageSpec] = []
    profiles: list[ProfileSpec] = []
    credentials: list[CredentialSpec] = []
    machines: list[MachineSpec] = []
    quotas: dict[str, QuotaSpec] = {}


class Located(NamedTuple):
    """A path of one of the file's documents, to complain about."""

    document: Document[Any]
    path: Path

    def at(self, *more: str | int) -> str:
        """Return ``file:line: path`` of it, or of something in it."""
        return self.document.where(*self.path, *more)


class Wanted(NamedTuple):
    """All documents as one: each thing by name, with where it stands."""

    groups: Mapping[str, tuple[GroupSpec, Located]]
    providers: Mapping[str, tuple[ProviderSpec, Located]]
    inventories: Mapping[str, tuple[Inventories, Located]]
    images: Mapping[str, tuple[ImageSpec, Located]]
    credentials: Mapping[str, tuple[CredentialSpec, Located]]
    machines: Mapping[str, tuple[MachineSpec, Located]]
    distance_types: Mapping[str, tuple[list[str], Located]]
    quotas: Mapping[str, tuple[QuotaSpec, Located]]
    profiles: Mapping[str, tuple[ProfileSpec, Located]]


_NAMED = ("groups", "providers", "images", "profiles", "credentials", "machines")
"""Sections that are lists of things with names."""


def merge(documents: Sequence[Document[Fleet]]) -> Wanted:
    """Return all documents as one; raise InvalidArgument when two things have one name."""
    wanted = Wanted({}, {}, {}, {}, {}, {}, {}, {}, {})
    for document in documents:
        for section in _NAMED:
            found = getattr(wanted, section)
            for number, spec in enumerate(getattr(document.value, section)):
                place = Located(document, (section, number))
                if not spec.name:
                    raise InvalidArgument(place.at("name"), "is empty")
                _refuse_repeat(found, spec.name, place.at("name"))
                found[spec.name] = (spec, place)
        for section in ("distance_types", "inventories", "quotas"):
            found = getattr(wanted, section)
            for name, spec in getattr(document.value, section).items():
                place = Located(document, (section, name))
                _refuse_repeat(found, name, place.at())
                found[name] = (spec, place)
    for name, (_, place) in wanted.inventories.items():
        if name in wanted.providers and wanted.providers[name][0].inventories is not None:
            raise InvalidArgument(place.at(), "is given at the provider as well")
    for name, (_, place) in wanted.machines.items():
        if name in wanted.providers:
            raise InvalidArgument(
                place.at("name"), "is a provider's too; a machine brings its provider along"
            )
    return wanted


def parents_first(wanted: Wanted) -> Iterator[list[str]]:
    """Yield the providers in waves, parents before children; raise InvalidArgument on a cycle."""
    left = dict(wanted.providers)
    while left:
        wave = [name for name, (spec, _) in left.items() if spec.parent not in left]
        if not wave:
            name, (spec, place) = next(iter(left.items()))
            raise InvalidArgument(
                place.at("parent"), f"{name} stands under {spec.parent}, which stands under {name}"
            )
        yield wave
        for name in wave:
            del left[name]


def _refuse_repeat(found: Mapping[str, tuple[object, Located]], name: str, place: str) -> None:
    if name in found:
        raise InvalidArgument(place, f"{name!r} stands at {found[name][1].at()} already")
