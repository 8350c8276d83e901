"""The certificates of a region's folder: kept in force, issued to others, moved to a new CA.

tls/ca.pem           who is trusted, the newest CA first
tls/ca.key           the newest CA's key
tls/ca.cross.pem     while the CA changes: the new one, signed by the old one
tls/ca.next.key      within a change of the CA, until ``ca.pem`` names it
tls/etcd.*           what the embedded etcd shows
tls/service.*        what this host's services show
tls/issued/          a copy of each certificate that went elsewhere, without its key
"""

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.tls import (
    KeyPair,
    TlsFiles,
    begins,
    certificates_in,
    common_name,
    cross_sign,
    expires,
    fingerprint,
    hosts_of,
    issue,
    issued_by,
    make_ca,
    matches,
    read_pair,
    write_pair,
    write_private,
)

RENEW_BEFORE = timedelta(days=30)
"""A certificate of this folder is issued anew when it has less than this left."""
LEAVES = ("etcd", "service")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_OWN = {"ca", *LEAVES}


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """One certificate, as a list shows it; ``current`` is whether the newest CA vouches for it."""

    name: str
    subject: str
    hosts: tuple[str, ...]
    expires: datetime
    fingerprint: str
    file: str
    current: bool


class Certificates:
    """The certificates below a region's folder. Every change of them holds a lock and is whole."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "tls"
        self._issued = self._folder / "issued"
        self._etcd_pid = state_dir / "run" / "etcd.pid"

    def files(self, name: str) -> TlsFiles:
        """Return where the CA, and the certificate and key of ``name``, are."""
        folder = self._folder
        return TlsFiles(
            ca=folder / "ca.pem", cert=folder / f"{name}.pem", key=folder / f"{name}.key"
        )

    def known(self) -> Sequence[Certificate]:
        """Return the CAs, this folder's own certificates, and those issued to others."""
        authorities = self._authorities()
        found = [_shown("ca", pem, self.files("ca").cert, authorities) for pem in authorities]
        paths = [self.files(name).cert for name in LEAVES]
        there = [p for p in (*paths, *sorted(self._issued.glob("*.pem"))) if p.exists()]
        return [*found, *(_shown(p.stem, p.read_bytes(), p, authorities) for p in there)]

    def keep(
        self, region: str, hosts: Sequence[str] = (), *, every: bool = False, create: bool = True
    ) -> list[str]:
        """Issue what this folder lacks; return the names of what was issued.

        That is what is missing, ends soon, is not of the newest CA, or does not name one of
        ``hosts``; ``every`` is all. The hosts that a certificate names already stay in it.
        """
        with self._changing():
            if create and not self.files("ca").cert.exists():
                ca = self.files("ca")
                write_pair(make_ca(f"{region}.mulligan"), ca.cert, ca.key)
            authority, chain = self._authority()
            hosts = (*hosts, services_of(common_name(authority.cert)))
            made = [n for n in LEAVES if every or _lacks(self.files(n), authority, hosts)]
            for name in made:
                self._make_leaf(name, region, authority, chain, hosts)
            return made

    def issue(
        self, name: str, out: Path, *, server: bool = False, hosts: Sequence[str] = ()
    ) -> tuple[Certificate, TlsFiles]:
        """Issue a certificate to a client, or to a ``server`` known as ``hosts``, below ``out``.

        Return it and where it was written. Raise InvalidArgument for a name or host that does
        not do.
        """
        if not _NAME.fullmatch(name) or name in _OWN:
            wanted = "up to 63 letters, digits, dots, dashes, @ or _; not ca, etcd or service"
            raise InvalidArgument("name", f"{name!r} cannot be the name of a certificate: {wanted}")
        names, ips = split_hosts(hosts)
        if server is not bool(hosts):
            wanted = "a server's certificate needs at least one --host, and no other has any"
            raise InvalidArgument("host", wanted)
        with self._changing():
            authority, chain = self._authority()
            if server:
                names.append(services_of(common_name(authority.cert)))
            pair = issue(
                authority, name, dns=names, ips=ips, server=server, client=True, chain=chain
            )
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = TlsFiles(
                ca=self.files("ca").ca, cert=out / f"{name}.pem", key=out / f"{name}.key"
            )
            write_pair(pair, files.cert, files.key)
            self._issued.mkdir(mode=0o700, exist_ok=True)
            write_private(self._issued / f"{name}.pem", certificates_in(pair.cert)[0])
        return _shown(name, pair.cert, files.cert, (authority.cert,)), files

    def renew_ca(self, region: str) -> list[str]:
        """Make a new CA beside the old one, and this folder's certificates by it.

        Who trusts either trusts what is issued from now on. Return the names of what was issued.
        Raise FailedPrecondition while an earlier change of the CA is not finished.
        """
        with self._changing():
            old, _ = self._authority()
            if len(authorities := self._authorities()) > 1:
                raise FailedPrecondition(
                    "the CA is being changed already; end that first, by `mulligan certificate "
                    "renew-ca --finish`"
                )
            new = make_ca(common_name(old.cert))
            write_private(self._next_key, new.key)
            write_private(self._cross, cross_sign(old, new))
            write_private(self.files("ca").cert, new.cert + authorities[0])
            self._settle()
        return self.keep(region)

    def finish_ca(self, *, force: bool = False) -> list[str]:
        """Trust the old CA no more; return the names of those whose certificates are void now.

        Raise FailedPrecondition, naming what still goes by the old one, unless ``force``.
        """
        with self._changing():
            authorities = self._authorities()
            if len(authorities) < 2:
                raise FailedPrecondition(
                    "no change of the CA is under way; begin one by `mulligan certificate renew-ca`"
                )
            now = datetime.now(UTC)
            left = [c.name for c in self.known() if not c.current and c.expires > now]
            left = [name for name in left if name != "ca"]
            if left and not force:
                raise FailedPrecondition(
                    f"still certified by the old CA: {', '.join(left)}; issue them anew, or make "
                    "them void with --force"
                )
            self._require_fresh_etcd(force=force)
            write_private(self.files("ca").cert, authorities[0])
            self._cross.unlink(missing_ok=True)
            for name in LEAVES:
                files = self.files(name)
                if files.cert.exists():
                    write_private(files.cert, certificates_in(files.cert.read_bytes())[0])
            return left

    @property
    def _cross(self) -> Path:
        return self._folder / "ca.cross.pem"

    @property
    def _next_key(self) -> Path:
        return self._folder / "ca.next.key"

    def _authorities(self) -> tuple[bytes, ...]:
        return certificates_in(self.files("ca").cert.read_bytes())

    def _authority(self) -> tuple[KeyPair, bytes]:
        """Return the newest CA, and what goes behind the certificates that it issues."""
        files = self.files("ca")
        if not files.cert.exists() or not files.key.exists():
            raise FailedPrecondition(
                f"{self._folder} has no CA with its key; run this on the host where the region "
                "was set up, with its --state"
            )
        newest = certificates_in(files.cert.read_bytes())[0]
        chain = self._cross.read_bytes() if self._cross.exists() else b""
        return KeyPair(cert=newest, key=files.key.read_bytes()), chain

    def _settle(self) -> None:
        """Bring a change of the CA to its end, or undo it: ``ca.pem`` tells how far it came."""
        if not self._next_key.exists():
            return
        if matches(self._authorities()[0], self._next_key.read_bytes()):
            self._next_key.replace(self.files("ca").key)
        else:
            self._cross.unlink(missing_ok=True)
            self._next_key.unlink()

    def _make_leaf(
        self, name: str, region: str, authority: KeyPair, chain: bytes, hosts: Sequence[str]
    ) -> None:
        files = self.files(name)
        known = hosts_of(files.cert.read_bytes()) if files.cert.exists() else ()
        names, ips = split_hosts((*known, *hosts))
        common = f"{name}.{region}.mulligan"
        pair = issue(authority, common, dns=names, ips=ips, server=True, client=True, chain=chain)
        write_pair(pair, files.cert, files.key)

    def _require_fresh_etcd(self, *, force: bool) -> None:
        """Refuse while an etcd runs here that has not read the new CA: it does so at its start."""
        try:
            began = self._etcd_pid.stat().st_mtime
            os.kill(int(self._etcd_pid.read_text()), 0)
        except (OSError, ValueError):
            return
        if began < self.files("ca").cert.stat().st_mtime and not force:
            raise FailedPrecondition(
                "the etcd that runs here knows only the old CA: restart `mulligan up` first"
            )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if self.files("ca").cert.exists():
                self._settle()
            yield
        finally:
            os.close(folder)


def services_of(ca: str) -> str:
    """Return the name that services of a CA's region have in their certificates, and nobody else.

    By it etcd tells them from accounts, whose certificates are of the same CA.
    """
    return f"services.{ca}"


def split_hosts(hosts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part hosts into DNS names and addresses, each once; raise InvalidArgument for neither."""
    names: list[str] = []
    ips: list[str] = []
    for host in filter(None, hosts):
        try:
            ips.append(str(ip_address(host)))
        except ValueError:
            if not _HOST.fullmatch(host):
                raise InvalidArgument("host", f"{host!r} is no name or address of a host") from None
            names.append(host)
    return list(dict.fromkeys(names)), list(dict.fromkeys(ips))


def _lacks(files: TlsFiles, authority: KeyPair, hosts: Sequence[str]) -> bool:
    if not files.cert.exists() or not files.key.exists():
        return True
    pair = read_pair(files.cert, files.key)
    now = datetime.now(UTC)
    names, ips = split_hosts(hosts)
    left = expires(pair.cert) - now
    return (
        left < min(RENEW_BEFORE, expires(authority.cert) - now)
        or begins(pair.cert) > now  # it was made by a clock that was ahead
        or not issued_by(authority.cert, pair.cert)
        or not matches(pair.cert, pair.key)
        or not {*names, *ips} <= set(hosts_of(pair.cert))
    )


def _shown(name: str, pem: bytes, file: Path, authorities: Sequence[bytes]) -> Certificate:
    return Certificate(
        name=name,
        subject=common_name(pem),
        hosts=hosts_of(pem),
        expires=expires(pem),
        fingerprint=fingerprint(pem),
        file=str(file),
        current=issued_by(authorities[0], pem),
    )
