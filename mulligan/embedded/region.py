"""A region's folder: what ``mulligan init`` makes, and the servers that ``mulligan up`` runs in it.

config.toml       the configuration, mode 0600
admin.secret      the first admin's secret
secrets.key       the secret store's master key
tls/              ca, etcd and service: a certificate (.pem) and a key (.key) each
etcd/ postgres/   the embedded servers' data
images/ cache/ logs/ run/
"""

import os
import secrets
import signal
import socket
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from mulligan.config import (
    Address,
    ArchiveConfig,
    Config,
    Dsn,
    EtcdConfig,
    ListenConfig,
    Location,
    MediaConfig,
    PostgresConfig,
    SecretsConfig,
    TlsConfig,
    load,
    render,
)
from mulligan.embedded.certificates import Certificates, services_of
from mulligan.embedded.etcd import EmbeddedEtcd, EtcdTls
from mulligan.embedded.ports import LOOPBACK, free_ports, is_free
from mulligan.embedded.postgres import EmbeddedPostgres
from mulligan.embedded.supervisor import Child, program
from mulligan.errors import FailedPrecondition
from mulligan.secrets import write_master_key
from mulligan.tls import TlsFiles, common_name, write_private

DATABASE = "mulligan"
_FOLDERS = ("tls", "etcd", "images", "cache", "logs", "run")
_ETCD_PORT = 2379
_MEDIA_PORT = 7008


class OtherRegion(FailedPrecondition):
    """The folder belongs to another region."""


class RegionPaths(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are in a region's folder."""

    state_dir: Path

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.state_dir / "config.toml"

    @property
    def admin_secret(self) -> Path:
        """The first admin's secret, one line."""
        return self.state_dir / "admin.secret"

    @property
    def master_key(self) -> Path:
        """The secret store's master key."""
        return self.state_dir / "secrets.key"

    @property
    def etcd(self) -> Path:
        """The embedded etcd's data."""
        return self.state_dir / "etcd"

    @property
    def postgres(self) -> Path:
        """The embedded Postgres's data."""
        return self.state_dir / "postgres"

    def log(self, name: str) -> Path:
        """The log of a process."""
        return self.state_dir / "logs" / f"{name}.log"

    def tls(self, name: str) -> TlsFiles:
        """The CA, and the certificate and key of ``name``: ca, etcd or service."""
        return Certificates(self.state_dir).files(name)


def init_region(
    state_dir: Path,
    region: str,
    *,
    hosts: Sequence[str] = (),
    usual_ports: bool = True,
    avoid: Collection[int] = (),
) -> RegionPaths:
    """Make a region's folder, or what it lacks; what is there already stays as it is.

    ``hosts`` are further names and addresses of this machine, for its certificates.
    ``usual_ports`` takes the ports of the documentation where they are free; ``avoid`` are ports
    that it does not take. Certificates close to their end are issued anew. Raise OtherRegion when
    the folder is another region's, and ConfigError when its configuration cannot be read.
    """
    state_dir = state_dir.expanduser().resolve()
    paths = RegionPaths(state_dir=state_dir)
    _check_same_region(paths, region)
    _make_folders(state_dir)
    Certificates(state_dir).keep(region, own_hosts(hosts))
    if not paths.master_key.exists():
        write_master_key(paths.master_key)
    if not paths.admin_secret.exists():
        write_private(paths.admin_secret, f"{secrets.token_urlsafe(32)}\n".encode())
    if not paths.config.exists():
        config = _first_config(paths, region, usual_ports, avoid)
        write_private(paths.config, render(config, state_dir).encode())
    return paths


def own_hosts(more: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what this host is known as: to itself, by its name, and as ``more``."""
    known = ("localhost", LOOPBACK, "::1", socket.gethostname(), *more)
    return tuple(dict.fromkeys(filter(None, known)))


def embedded_etcd(config: Config) -> EmbeddedEtcd:
    """Return the etcd of a region's folder, on the configured endpoint."""
    paths = RegionPaths(state_dir=config.state_dir)
    tls = None
    if config.etcd.tls:
        allowed = services_of(f"{config.region}.mulligan")
        tls = EtcdTls(server=paths.tls("etcd"), client=paths.tls("service"), allowed=allowed)
    port, quota = config.etcd.endpoints[0].port, config.etcd.quota_bytes
    return EmbeddedEtcd(paths.etcd, tls, port, log=paths.log("etcd"), quota=quota)


def embedded_postgres(config: Config) -> EmbeddedPostgres:
    """Return the Postgres of a region's folder; it begins with the configured database."""
    paths = RegionPaths(state_dir=config.state_dir)
    return EmbeddedPostgres(paths.postgres, log=paths.log("postgres"), databases=(DATABASE,))


def server_children(config: Config) -> Sequence[Child]:
    """Return the supervisor's children for the servers that the configuration embeds."""
    children = []
    if config.etcd.embedded:
        etcd = embedded_etcd(config)
        children.append(program("etcd", etcd.command))
    if config.postgres.embedded:
        postgres = embedded_postgres(config)
        children.append(program("postgres", postgres.command, signal.SIGINT))
    return children


def _check_same_region(paths: RegionPaths, region: str) -> None:
    found = None
    ca = paths.tls("ca").cert
    if paths.config.exists():
        found = load(paths.config, {}, check_files=False).region
    elif ca.exists():
        found = common_name(ca.read_bytes()).removesuffix(".mulligan")
    if found is not None and found != region:
        raise OtherRegion(
            f"{paths.state_dir} holds region {found!r}, not {region!r}; name another folder"
        )


def _make_folders(state_dir: Path) -> None:
    # As root, Postgres runs as another user, who must pass through here to its own folder.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    if not state_dir.exists():
        state_dir.mkdir(parents=True)
        state_dir.chmod(mode)
    for name in _FOLDERS:
        (state_dir / name).mkdir(mode=0o700, exist_ok=True)


def ports_of(config: Config) -> set[int]:
    """Return every port that the processes of a region listen on."""
    services = (getattr(config.listen, name) for name in ListenConfig.__struct_fields__)
    return {one.port for one in (*services, config.media.listen, *config.etcd.endpoints)}


def _first_config(
    paths: RegionPaths, region: str, usual_ports: bool, avoid: Collection[int]
) -> Config:
    services = ListenConfig.__struct_fields__
    usual = [getattr(ListenConfig(), name).port for name in services]
    wanted = [*usual, _MEDIA_PORT, _ETCD_PORT]
    chosen: list[int] = []
    for port in wanted:
        free = usual_ports and port not in avoid and is_free(port)
        chosen.append(port if free else free_ports(1, avoid={*chosen, *avoid})[0])
    *service_ports, media, etcd = (Address(f"{LOOPBACK}:{port}") for port in chosen)
    files = paths.tls("service")
    postgres = EmbeddedPostgres(paths.postgres)
    return Config(
        region=region,
        state_dir=paths.state_dir,
        etcd=EtcdConfig(endpoints=(etcd,), ca=files.ca, cert=files.cert, key=files.key),
        postgres=PostgresConfig(dsn=Dsn(postgres.dsn(DATABASE))),
        tls=TlsConfig(ca=files.ca, cert=files.cert, key=files.key),
        listen=ListenConfig(**dict(zip(services, service_ports, strict=True))),
        media=MediaConfig(
            listen=media,
            image_dir=paths.state_dir / "images",
            cache_dir=paths.state_dir / "cache",
        ),
        archive=ArchiveConfig(location=Location(paths.state_dir / "archive")),
        secrets=SecretsConfig(key_file=paths.master_key),
    )
