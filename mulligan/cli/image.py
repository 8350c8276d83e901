"""``mulligan image``: what machines boot."""

from typing import Annotated

import typer

from mulligan.cli import pushing
from mulligan.cli.deleting import delete_each
from mulligan.cli.output import Column
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.quantities import format_time

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("NAME", lambda image: image.name),
    Column("KIND", lambda image: image.kind),
    Column("FIRMWARE", lambda image: image.firmware),
    Column("URL", lambda image: image.url),
    Column("READY WHEN", lambda image: image.ready_when),
    Column("SHA256", lambda image: image.sha256, wide=True),
    Column("UUID", lambda image: image.uuid, wide=True),
    Column("CREATED", lambda image: format_time(image.created_at), wide=True),
)


@verb(app, "create")
async def create_image(
    session: Session,
    name: Annotated[str, typer.Argument()],
    url: Annotated[str, typer.Option("--url", help="https://… or file:NAME in the image folder.")],
    sha256: Annotated[str, typer.Option("--sha256", help="Checksum, in hex.")],
    kind: Annotated[str, typer.Option("--kind", help="iso or http-boot.")] = "iso",
    firmware: Annotated[str, typer.Option("--firmware", help="uefi or bios.")] = "uefi",
    ready_when: Annotated[
        str,
        typer.Option("--ready-when", help="When a machine is up: at power-on, or at phone-home."),
    ] = "power-on",
    quiet: QuietOption = False,
) -> None:
    """Create an image."""
    from mulligan.proto.v1 import CreateImageRequest

    request = CreateImageRequest(
        name=name, url=url, sha256=sha256, kind=kind, firmware=firmware, ready_when=ready_when
    )
    answer = await session.client.control.create_image(request)
    session.out.made(answer.image, COLUMNS)


@verb(app, "list", reads=True, across=True)
async def list_images(session: Session) -> None:
    """List images."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListImagesRequest

    control = session.client.control
    pages = every(control.list_images, ListImagesRequest(), lambda page: page.images)
    session.out.rows([image async for image in pages], COLUMNS, "no images")


@verb(app, "show", reads=True)
async def show_image(
    session: Session, image: Annotated[str, typer.Argument(help="Name or UUID.")]
) -> None:
    """Show an image."""
    from mulligan.proto.v1 import GetImageRequest

    answer = await session.client.control.get_image(GetImageRequest(image=image))
    session.out.one(answer.image, COLUMNS)


@verb(app, "delete")
async def delete_image(
    session: Session,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Names or UUIDs.")],
    yes: YesOption = False,
) -> None:
    """Delete images."""
    from mulligan.proto.v1 import DeleteImageRequest

    await delete_each(
        session,
        images,
        yes,
        lambda name: session.client.control.delete_image(DeleteImageRequest(image=name)),
    )


app.add_typer(pushing.images)
