"""Images and BMC credentials."""

from mulligan.handlers.image import Credential, Image
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
