"""Images and user data: what is taken in, whose it is, and what may go."""

import pytest

from mulligan.errors import AlreadyExists, InvalidArgument, NotFound
from mulligan.handlers import image, userdata
from mulligan.model import ImageId, ProjectId, UserDataId

from .given import WEB, Given, field, types

DB = ProjectId("db")
SCRIPT = UserDataId("script")


def create(
    key: str = SCRIPT, *, name: str = "script", project: ProjectId = WEB, size: int = 10
) -> userdata.CreateUserData:
    return userdata.CreateUserData(
        user_data=UserDataId(key), name=name, project=project, version="v1", sha256="a" * 64,
        size=size,
    )  # fmt: skip


def delete(project: str = "") -> userdata.DeleteUserData:
    return userdata.DeleteUserData(user_data=SCRIPT, project=ProjectId(project))


def test_user_data_has_its_name_in_its_project() -> None:
    given = Given()
    assert types(given.do(create())) == ["name.assigned", "userdata.created"]
    with pytest.raises(AlreadyExists, match="'script' exists already"):
        given.do(create("other"))
    given.do(create("theirs", project=DB))
    with pytest.raises(AlreadyExists):
        given.do(create(name="another"))


@pytest.mark.parametrize("size", [0, -1, 64 * 1024 + 1])
def test_user_data_is_bounded(size: int) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Given().do(create(size=size))
    assert field(refused) == "content"
    Given().do(create(size=64 * 1024))


def test_user_data_is_deleted_once_and_frees_its_name() -> None:
    given = Given()
    given.do(create())
    assert types(given.do(delete())) == ["userdata.deleted", "name.released"]
    with pytest.raises(NotFound):
        given.do(delete())
    given.do(create("other"))
    with pytest.raises(AlreadyExists, match="new id"):
        given.do(create(name="another"))


def test_another_projects_user_data_is_not_found_to_be_deleted() -> None:
    given = Given()
    given.do(create())
    with pytest.raises(NotFound):
        given.do(delete("db"))
    given.do(delete("web"))
    with pytest.raises(NotFound):
        Given().do(delete())


def picture(
    url: str = "https://images/os.iso", *, kind: str = "iso", firmware: str = "uefi",
    sha256: str = "a" * 64, ready_when: str = "power-on",
) -> image.CreateImage:  # fmt: skip
    return image.CreateImage(
        image=ImageId("i"), name="i", url=url, sha256=sha256, kind=kind, firmware=firmware,
        ready_when=ready_when,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (picture(kind="http-boot", firmware="bios"), "firmware"),
        (picture(kind="floppy"), "kind"),
        (picture(firmware="coreboot"), "firmware"),
        (picture(ready_when="whenever"), "ready_when"),
        (picture(sha256=""), "sha256"),
        (picture(sha256="A" * 64), "sha256"),
        (picture(sha256="a" * 63), "sha256"),
        (picture("ftp://images/os.iso"), "url"),
        (picture("https://ann:secret@images/os.iso"), "url"),
        (picture("https:///os.iso"), "url"),
        (picture("file:../../etc/passwd"), "url"),
        (picture("file://host/os.iso"), "url"),
        (picture("file:.hidden"), "url"),
        (picture("https://images/a b.iso"), "url"),
        (picture(""), "url"),
    ],
)
def test_an_image_that_cannot_be_booted_is_refused_with_its_field(
    command: image.CreateImage, named: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Given().do(command)
    assert field(refused) == named


@pytest.mark.parametrize(
    "command",
    [
        picture(),
        picture("file:os-1.2.iso"),
        picture(firmware="bios"),
        picture("http://images:8080/efi/boot.efi", kind="http-boot"),
        picture(ready_when="phone-home"),
    ],
)
def test_an_image_of_each_kind_is_taken_in(command: image.CreateImage) -> None:
    assert types(Given().do(command)) == ["name.assigned", "image.created"]
