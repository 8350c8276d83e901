"""``mulligan backup``: what the archive does not keep, saved by its host. Talks to etcd only."""

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.on_host import DEFAULT_STATE, ConfigOption, StateOption, config_of
from mulligan.cli.progress import Progress
from mulligan.errors import Corrupt, FailedPrecondition, MulliganError

if TYPE_CHECKING:
    from mulligan.config import Config
    from mulligan.log.etcd import Etcd
    from mulligan.model import RegionName
    from mulligan.services.archive.backups import Kind

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")]


@app.command("secrets")
def save_secrets(
    file: FileArgument, state: StateOption = DEFAULT_STATE, config: ConfigOption = None
) -> int:
    """Save the sealed secrets as they are; without the master key, which is not in it, all opaque.

    The region may run meanwhile. `mulligan archive restore --secrets FILE` brings them back.
    """
    import anyio

    count = anyio.run(_secrets, config_of(state, config), file)
    typer.echo(f"saved {count} sealed secrets to {file}; keep the master key elsewhere")
    return 0


async def _secrets(config: "Config", file: Path) -> int:
    from mulligan.embedded.offline import etcd_of
    from mulligan.model import RegionName
    from mulligan.services.archive.backups import revision_of
    from mulligan.services.secrets.backup import save_secrets

    region = RegionName(config.region)
    async with etcd_of(config) as etcd:
        revision = await revision_of(etcd, region)
        count = await save_secrets(etcd, region, file)
        await _note(etcd, region, "secrets", revision)
        return count


@app.command("etcd")
def save_etcd(
    file: FileArgument, state: StateOption = DEFAULT_STATE, config: ConfigOption = None
) -> int:
    """Save a snapshot of etcd whole, log and secrets, as `etcdctl snapshot save` does.

    The region may run meanwhile. `etcdctl snapshot restore` makes a data folder of it.
    """
    import anyio

    size = anyio.run(_snapshot, config_of(state, config), file)
    typer.echo(f"saved a snapshot of {size:,} bytes to {file}")
    return 0


async def _snapshot(config: "Config", file: Path) -> int:
    from mulligan.embedded.offline import etcd_of
    from mulligan.model import RegionName
    from mulligan.services.archive.backups import revision_of

    region = RegionName(config.region)
    async with etcd_of(config) as etcd:
        revision = await revision_of(etcd, region)
        size = await _write_snapshot(etcd, file)
        await _note(etcd, region, "etcd", revision)
        return size


async def _write_snapshot(etcd: "Etcd", file: Path) -> int:
    import hashlib
    import os

    from anyio import to_thread

    from mulligan.log.export_file import written_whole

    digest, held, size = hashlib.sha256(), b"", 0
    try:
        with Progress() as progress, written_whole(file) as out:
            os.fchmod(out.fileno(), 0o600)
            async with aclosing(etcd.snapshot()) as blobs:
                async for blob in blobs:
                    await to_thread.run_sync(out.write, blob)
                    held += blob
                    digest.update(held[:-_DIGEST])
                    held, size = held[-_DIGEST:], size + len(blob)
                    if size % _SHOWN == 0:
                        progress.show("snapshot", f"{size:,} bytes")
            if digest.digest() != held:
                raise Corrupt("the snapshot broke off: its digest is not at its end; do it again")
    except OSError as error:
        raise FailedPrecondition(f"{file} cannot be written: {error.strerror}") from error
    return size


async def _note(etcd: "Etcd", region: "RegionName", kind: "Kind", revision: int) -> None:
    """Note for `mulligan status` that this was saved; where that fails, the file is good still."""
    from mulligan.services.archive.backups import note

    try:
        await note(etcd, region, kind, revision)
    except MulliganError as error:
        text = f"the file is whole, but `mulligan status` will not know of it: {error.message}"
        typer.echo(text, err=True)


_DIGEST = 32
_SHOWN = 2**20
