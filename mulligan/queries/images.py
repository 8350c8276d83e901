"""Images, user data and BMC credentials."""

from mulligan.handlers.credential import Credential
from mulligan.handlers.image import Image
from mulligan.handlers.userdata import UserData
from mulligan.queries.database import Database
from mulligan.queries.paging import Filters, Object, Page, PageRequest, page, reader


async def list_images(database: Database, request: PageRequest) -> Page[Object[Image]]:
    """List images by age."""
    listing = Filters("NOT t.deleted").listing("rm_images.image")
    return await page(database, listing, request, reader(Image))


async def list_credentials(database: Database, request: PageRequest) -> Page[Object[Credential]]:
    """List credentials by age."""
    listing = Filters("NOT t.deleted").listing("rm_images.credential")
    return await page(database, listing, request, reader(Credential))


async def list_user_data(
    database: Database, request: PageRequest, *, project: str | None = None
) -> Page[Object[UserData]]:
    """List user data by age, of one project or of all."""
    filters = Filters("NOT t.deleted")
    filters.add("t.project = $$", project)
    return await page(database, filters.listing("rm_images.userdata"), request, reader(UserData))
