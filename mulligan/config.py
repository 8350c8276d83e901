"""The configuration: one TOML file, strictly read; ``MULLIGAN_<SECTION>_<KEY>`` overrides a key.

``load`` refuses unknown keys, wrong types and bad values, all of them at once, each with its file,
line, key and what to write instead. ``render`` writes the page that ``mulligan init`` leaves.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, quote, urlsplit

from msgspec import Meta

from mulligan.toml_page import ConfigError, Problem, Section, Source, read
from mulligan.toml_page import render as render_page

__all__ = [
    "Address",
    "Config",
    "ConfigError",
    "Dsn",
    "Location",
    "Problem",
    "insecure_links",
    "load",
    "render",
]

ENV_PREFIX = "MULLIGAN_"
_STORES = frozenset({"s3", "gs", "az", "abfs"})
_VERIFYING = frozenset({"verify-ca", "verify-full"})
RESERVED_ENV = frozenset({"MULLIGAN_SECRETS_KEY"})
"""Variables that look like an override of a key and mean something else."""


class Address(str):
    """A ``host:port`` to listen on or connect to; an IPv6 host stands in brackets."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check ``text``; raise ValueError when it is not ``host:port``."""
        host, _, port = text.rpartition(":")
        if not host or "/" in host or not port.isdecimal() or int(port) > 65535:
            raise ValueError("expected host:port")
        return cls(text)

    @property
    def host(self) -> str:
        """The host, without brackets."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port; 0 lets the system choose one."""
        return int(self.rpartition(":")[2])


class Dsn(str):
    """A Postgres connection URL; a ``host=./dir`` in its query is relative to the file."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check ``text``; raise ValueError when it is no Postgres URL."""
        if urlsplit(text).scheme not in {"postgresql", "postgres"}:
            raise ValueError("expected a URL that begins with postgresql://")
        return cls(text)

    def below(self, base: Path) -> Self:
        """Return it with a socket directory ``./dir`` made absolute below ``base``."""
        url = urlsplit(self)
        pairs = parse_qsl(url.query, keep_blank_values=True)
        query = "&".join(
            f"{key}={quote(str(base / value) if value.startswith('./') else value)}"
            for key, value in pairs
        )
        location = f"{url.scheme}://{url.netloc}{url.path}"
        return type(self)(f"{location}?{query}" if query else location)

    def __repr__(self) -> str:
        return "Dsn(<redacted>)"


class Location(str):
    """A folder, or the URL of object storage such as ``s3://bucket/prefix``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check ``text``; raise ValueError when it is neither a path nor a URL of a known kind."""
        scheme, found, rest = text.partition("://")
        if not text or (found and (scheme not in _STORES or not rest)):
            raise ValueError(f"expected a folder, or a URL of {', '.join(sorted(_STORES))}")
        return cls(text)

    @property
    def folder(self) -> Path | None:
        """The folder; None for object storage."""
        return None if "://" in self else Path(self)

    def below(self, base: Path) -> Self:
        """Return it with a relative folder made absolute below ``base``."""
        folder = self.folder
        return self if folder is None else type(self)(base / folder.expanduser())


class EtcdConfig(Section, frozen=True, kw_only=True):
    """The region's etcd: the log and the secrets."""

    embedded: Annotated[bool, Meta(description="`mulligan up` runs etcd at the endpoint")] = True
    endpoints: Annotated[
        tuple[Address, ...], Meta(min_length=1, description="host:port of every member")
    ] = (Address("127.0.0.1:2379"),)
    tls: Annotated[bool, Meta(description="false is plain text; services then say so")] = True
    ca: Annotated[Path | None, Meta(description="who signed etcd's certificate, and ours")] = None
    cert: Path | None = None
    key: Path | None = None
    quota_bytes: Annotated[
        int, Meta(ge=2**24, description="etcd's own quota, which the embedded one is given")
    ] = 4 * 2**30


class PostgresConfig(Section, frozen=True, kw_only=True):
    """The region's Postgres: read models, rebuilt from the log at any time."""

    embedded: Annotated[bool, Meta(description="`mulligan up` runs Postgres for this dsn")] = True
    dsn: Annotated[Dsn, Meta(description="host=./dir is a socket directory beside this file")] = (
        Dsn("postgresql://postgres@/mulligan?host=./postgres")
    )
    tls: Annotated[
        bool, Meta(description="over TCP the dsn needs sslmode=verify-full; false: plain text")
    ] = True


class TlsConfig(Section, frozen=True, kw_only=True):
    """TLS of the services, to each other and to clients."""

    enabled: Annotated[bool, Meta(description="false is for trials; services then say so")] = True
    ca: Annotated[Path | None, Meta(description="who signs the region's certificates")] = None
    cert: Annotated[Path | None, Meta(description="this host's service certificate")] = None
    key: Path | None = None


class ListenConfig(Section, frozen=True, kw_only=True):
    """Where each service listens (host:port)."""

    iam: Address = Address("127.0.0.1:7001")
    meta: Address = Address("127.0.0.1:7002")
    resource: Address = Address("127.0.0.1:7003")
    control: Address = Address("127.0.0.1:7004")
    log: Address = Address("127.0.0.1:7005")
    projector: Address = Address("127.0.0.1:7006")
    executor: Address = Address("127.0.0.1:7007")
    archiver: Address = Address("127.0.0.1:7009")


class MediaConfig(Section, frozen=True, kw_only=True):
    """The HTTPS server that BMCs fetch images and config drives from."""

    listen: Address = Address("127.0.0.1:7008")
    tls: Annotated[
        bool, Meta(description="false is plain HTTP, for BMCs that cannot do better")
    ] = True
    verify: Annotated[
        bool, Meta(description="BMCs that can are told to check the server by tls.ca")
    ] = True
    base_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/\s]+)?$",
            description='how BMCs reach it, https://host:port; "": at media.listen',
        ),
    ] = ""
    machines_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/\s]+)?$",
            description='how booted machines reach it to report; "": as BMCs do',
        ),
    ] = ""
    image_dir: Annotated[Path, Meta(description="images that operators put here")] = Path("images")
    cache_dir: Annotated[Path, Meta(description="images fetched and made")] = Path("cache")
    cache_bytes: Annotated[int, Meta(ge=2**20, description="oldest leave beyond this")] = 10 * 2**30


class BmcConfig(Section, frozen=True, kw_only=True):
    """How BMCs are trusted that are neither pinned nor enrolled as insecure."""

    ca: Annotated[
        Path | None,
        Meta(description='PEM file of who vouches for them; "": whom the host trusts'),
    ] = None


class BrakeConfig(Section, frozen=True, kw_only=True):
    """The blast-radius brake: where too many machines fail at once, actions stop."""

    percent: Annotated[
        float, Meta(ge=0, le=100, description="of the machines under one provider; 0: never")
    ] = 25.0
    at_least: Annotated[int, Meta(ge=1, description="machines, however small the domain")] = 3
    window_s: Annotated[int, Meta(ge=60, le=86400, description="seconds")] = 600


class ObserveConfig(Section, frozen=True, kw_only=True):
    """How idle machines are watched."""

    poll_s: Annotated[
        int, Meta(ge=5, le=86400, description="seconds between looks where a BMC tells nothing")
    ] = 120


class SecretsConfig(Section, frozen=True, kw_only=True):
    """The secret store's master key."""

    key_file: Annotated[
        Path, Meta(description="mode 0600; the variable MULLIGAN_SECRETS_KEY goes before it")
    ] = Path("secrets.key")
    key_command: Annotated[
        tuple[str, ...],
        Meta(description="prints the keys instead, as a KMS client does; it goes before the file"),
    ] = ()


class ArchiveConfig(Section, frozen=True, kw_only=True):
    """Where the log's older entries go, and when they leave etcd."""

    location: Annotated[Location, Meta(description="folder or URL, such as s3://bucket/prefix")] = (
        Location("archive")
    )
    keep_days: Annotated[
        float, Meta(gt=0, le=3650, description="entries younger than that stay in etcd")
    ] = 7.0
    keep_bytes: Annotated[int, Meta(ge=2**20, description="but no more of them than this")] = 2**30
    keep_entries: Annotated[
        int, Meta(ge=100, le=1_000_000, description="but these, the newest, in any case")
    ] = 5000
    segment_bytes: Annotated[
        int, Meta(ge=2**16, le=2**28, description="of entries, to a segment")
    ] = 16 * 2**20
    copy_s: Annotated[
        float, Meta(ge=1, le=86400, description="seconds between copies of what is not sealed yet")
    ] = 60.0


class MetricsConfig(Section, frozen=True, kw_only=True):
    """What the services tell Prometheus, by plain HTTP."""

    port_offset: Annotated[
        int, Meta(ge=0, le=32768, description="each listens for it so many ports above its own")
    ] = 0


class LimitsConfig(Section, frozen=True, kw_only=True):
    """What one request may ask for."""

    page_size_max: Annotated[int, Meta(ge=1, le=1000)] = 1000
    deadline_s: Annotated[
        float, Meta(gt=0, le=3600, description="seconds, for calls that bring no deadline")
    ] = 30.0
    message_bytes: Annotated[int, Meta(ge=2**16, le=2**26, description="of one request")] = (
        4 * 2**20
    )
    rate: Annotated[
        float, Meta(gt=0, description="calls of one account each second, on average")
    ] = 2000.0
    in_flight: Annotated[
        int, Meta(ge=1, description="calls in work in one process; more are told to wait")
    ] = 1024


class TraceConfig(Section, frozen=True, kw_only=True):
    """Traces, by OpenTelemetry's protocol over HTTP."""

    endpoint: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/\s]+(/\S*)?)?$",
            description='a collector, http://host:4318; "": no traces are sent',
        ),
    ] = ""
    sample: Annotated[
        float, Meta(ge=0, le=1, description="share of the traces that begin here")
    ] = 1.0


class LogConfig(Section, frozen=True, kw_only=True):
    """What the services write to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="debug, info, warning, error"),
    ] = "info"
    format: Annotated[Literal["text", "json"], Meta(description="text, json")] = "text"


class Config(Section, frozen=True, kw_only=True):
    """Everything a process of one region needs to know; all paths are absolute after ``load``."""

    region: Annotated[
        str,
        Meta(
            pattern="^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
            description="lower-case letters, digits and dashes; never changes",
        ),
    ] = "local"
    state_dir: Annotated[Path, Meta(description="logs, pid files, embedded data")] = Path(".")
    etcd: EtcdConfig = EtcdConfig()
    postgres: PostgresConfig = PostgresConfig()
    tls: TlsConfig = TlsConfig()
    listen: ListenConfig = ListenConfig()
    media: MediaConfig = MediaConfig()
    bmc: BmcConfig = BmcConfig()
    brake: BrakeConfig = BrakeConfig()
    observe: ObserveConfig = ObserveConfig()
    secrets: SecretsConfig = SecretsConfig()
    archive: ArchiveConfig = ArchiveConfig()
    limits: LimitsConfig = LimitsConfig()
    metrics: MetricsConfig = MetricsConfig()
    trace: TraceConfig = TraceConfig()
    log: LogConfig = LogConfig()


def load(path: Path | None, env: Mapping[str, str], *, check_files: bool = True) -> Config:
    """Read the file (none: only defaults) and the overrides in ``env``; raise ConfigError.

    With ``check_files``, the certificates and keys that it names must exist.
    """
    base = (path.parent if path else Path()).resolve()
    source = Source(
        name=str(path or "defaults"),
        text=_text(path) if path else "",
        env=env,
        prefix=ENV_PREFIX,
        reserved=RESERVED_ENV,
    )
    config = _absolute(read(Config, source, _decode), base)
    if problems := list(_contradictions(config, source, check_files)):
        raise ConfigError(problems)
    return config


def insecure_links(config: Config) -> Sequence[str]:
    """Name every link that runs without TLS, for a service to print when it starts."""
    links = []
    if not config.tls.enabled:
        links.append("services (tls.enabled = false)")
    if not config.etcd.tls:
        links.append("etcd (etcd.tls = false)")
    if not config.postgres.tls and _leaves_host(config.postgres.dsn):
        links.append("postgres (postgres.tls = false)")
    if not config.media.tls:
        links.append("images, config drives and machines' reports (media.tls = false)")
    return links


def _leaves_host(dsn: Dsn) -> bool:
    """Tell whether a Postgres URL may lead over TCP and is not told to verify the server."""
    url = urlsplit(dsn)
    query = dict(parse_qsl(url.query))
    hosts = (query.get("host") or url.hostname or "").split(",")
    sockets = all(host.startswith("/") for host in hosts)
    return not sockets and query.get("sslmode") not in _VERIFYING


def render(config: Config, base: Path | None = None) -> str:
    """Write ``config`` as a commented page that ``load`` reads back to the same.

    Paths below ``base``, the folder of the file to be, are written relative to it.
    """

    def show(value: object) -> object:
        if isinstance(value, Path) and base is not None and value.is_relative_to(base):
            return value.relative_to(base)
        if isinstance(value, Location) and base is not None:
            folder = value.folder
            return folder.relative_to(base) if folder and folder.is_relative_to(base) else value
        if isinstance(value, Dsn) and base is not None:
            return value.replace(f"host={quote(str(base))}/", "host=./")
        return value

    page = [
        "# Mulligan: the configuration of one region. Any key may be left out; these are all of",
        "# them. Relative paths start at this file's folder. The environment goes before the file:",
        "# MULLIGAN_REGION, MULLIGAN_LIMITS_DEADLINE_S, and so on.",
        *render_page(config, show),
    ]
    return "\n".join(page) + "\n"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        fix = "name a readable file, or make one with `mulligan init`"
        raise ConfigError([Problem(f"{path}:1", "file", reason, fix)]) from None


def _decode(kind: type, value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {type(value).__name__}")
    if issubclass(kind, Address):
        return Address.parse(value)
    if issubclass(kind, Dsn):
        return Dsn.parse(value)
    if issubclass(kind, Location):
        return Location.parse(value)
    if not value:
        raise ValueError("expected a path")
    return Path(value).expanduser()


def _absolute(config: Config, base: Path) -> Config:
    """Put every relative path, at any depth, below ``base``."""

    def below(value: object) -> object:
        match value:
            case Path():
                return base / value
            case Dsn() | Location():
                return value.below(base)
            case Section():
                names = type(value).__struct_fields__
                return type(value)(**{name: below(getattr(value, name)) for name in names})
            case _:
                return value

    absolute = below(config)
    assert isinstance(absolute, Config)
    return absolute


def _contradictions(config: Config, source: Source, check_files: bool) -> Iterator[Problem]:
    """Check what no single key can tell."""
    yield from _tls_files(config, source, check_files)
    yield from _postgres_tls(config, source, check_files)
    yield from _media_urls(config, source)
    ca = config.bmc.ca
    if check_files and ca is not None and not ca.is_file():
        yield Problem(source.where("bmc", "ca"), "bmc.ca", f"no file {ca}", "correct the path")
    seen: dict[Address, str] = {}
    for key in config.listen.__struct_fields__:
        address: Address = getattr(config.listen, key)
        if not address.port:
            fix = "name the port; the catalog tells clients of it"
            yield Problem(source.where("listen", key), f"listen.{key}", "port 0 is none", fix)
        if address.port and address in seen:
            message = f"{address} is taken by listen.{seen[address]}"
            fix = "give each service its own port"
            yield Problem(source.where("listen", key), f"listen.{key}", message, fix)
        seen[address] = key


def _tls_files(config: Config, source: Source, check_files: bool) -> Iterator[Problem]:
    tls, etcd = config.tls, config.etcd
    served = tls.enabled or config.media.tls
    opt_out = "set tls.enabled = false and media.tls = false for a trial"
    for table, files, needed, instead in (
        ("tls", (tls.ca, tls.cert, tls.key), served, opt_out),
        ("etcd", (etcd.ca, etcd.cert, etcd.key), etcd.tls, "set etcd.tls = false for a trial"),
    ):
        for key, file in zip(("ca", "cert", "key"), files, strict=True):
            where, full = source.where(table, key), f"{table}.{key}"
            if needed and file is None:
                fix = f"run `mulligan init`, or name the file, or {instead}"
                yield Problem(where, full, "missing, and TLS needs it", fix)
            elif check_files and file is not None and not file.is_file():
                fix = "run `mulligan init`, or correct the path"
                yield Problem(where, full, f"no file {file}", fix)


def _postgres_tls(config: Config, source: Source, check_files: bool) -> Iterator[Problem]:
    where = source.where("postgres", "dsn")
    if config.postgres.tls and _leaves_host(config.postgres.dsn):
        fix = (
            "add sslmode=verify-full&sslrootcert=FILE to its query, or set postgres.tls = false "
            "for a trial"
        )
        yield Problem(where, "postgres.dsn", "it leads over TCP without verified TLS", fix)
    query = dict(parse_qsl(urlsplit(config.postgres.dsn).query))
    for key in ("sslrootcert", "sslcert", "sslkey"):
        if check_files and key in query and not Path(query[key]).is_file():
            message = f"no file {query[key]} for {key}"
            yield Problem(where, "postgres.dsn", message, "correct the path")


def _media_urls(config: Config, source: Source) -> Iterator[Problem]:
    for key in ("base_url", "machines_url"):
        if config.media.tls and getattr(config.media, key).startswith("http://"):
            fix = "write https://, or set media.tls = false for BMCs that cannot do TLS"
            where = source.where("media", key)
            yield Problem(where, f"media.{key}", "it is plain HTTP, and media.tls is true", fix)
