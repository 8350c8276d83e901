"""A region's small certificate authority, and the TLS contexts of servers and clients.

Keys are EC P-256. Private keys are written with mode 0600, whole or not at all. A file of a
certificate may hold a chain, and one of a CA several: the first is the one that is spoken of.
"""

import hashlib
import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE = timedelta(days=3652)
LEAF_LIFE = timedelta(days=365)
CLOCK_SKEW = timedelta(minutes=5)
"""Certificates begin to hold this long before they are made."""


class KeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate, perhaps with a chain behind it, and its private key, both PEM."""

    cert: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"KeyPair(fingerprint={fingerprint(self.cert)}, key=<redacted>)"


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where one party's certificate, its key, and the CA that it trusts are kept."""

    ca: Path
    cert: Path
    key: Path


def make_ca(name: str, *, now: datetime | None = None) -> KeyPair:
    """Make a CA; it holds for ten years from ``now``.

    It signs leaf certificates, and once in its life its successor: see ``cross_sign``.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    start = now or datetime.now(UTC)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    cert = (
        _builder(subject, subject, key.public_key(), start, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(issuer_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(cert, key)


def cross_sign(old: KeyPair, new: KeyPair, *, now: datetime | None = None) -> bytes:
    """Return the new CA's certificate as signed by the old one (PEM), to go with what it issues.

    Who trusts only the old CA then trusts what the new one issued, while the old one holds.
    """
    old_cert, old_key = _loaded(old)
    cert = x509.load_pem_x509_certificate(new.cert)
    start = now or datetime.now(UTC)
    life = min(old_cert.not_valid_after_utc, cert.not_valid_after_utc) - start
    public = cert.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(old_key.public_key())
    crossed = (
        _builder(cert.subject, old_cert.subject, public, start, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(issuer_id, critical=False)
        .sign(old_key, hashes.SHA256())
    )
    return crossed.public_bytes(serialization.Encoding.PEM)


def issue(
    ca: KeyPair,
    name: str,
    *,
    dns: Sequence[str] = (),
    ips: Sequence[str] = (),
    server: bool = False,
    client: bool = False,
    chain: bytes = b"",
    now: datetime | None = None,
) -> KeyPair:
    """Issue a certificate for ``name``; it holds for a year, though never longer than the CA.

    ``server`` and ``client`` are the roles it may play; ``chain`` goes behind the certificate.
    Raise ValueError when there is no role, or when a server has no DNS name or address to be
    known by.
    """
    roles = [
        role
        for wanted, role in (
            (server, ExtendedKeyUsageOID.SERVER_AUTH),
            (client, ExtendedKeyUsageOID.CLIENT_AUTH),
        )
        if wanted
    ]
    hosts: list[x509.GeneralName] = [x509.DNSName(host) for host in dns]
    hosts += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
    if not roles:
        raise ValueError("a certificate needs a role: server, client or both")
    if server and not hosts:
        raise ValueError("a server certificate needs a DNS name or an address")
    ca_cert, ca_key = _loaded(ca)
    key = ec.generate_private_key(ec.SECP256R1())
    start = now or datetime.now(UTC)
    life = min(LEAF_LIFE, ca_cert.not_valid_after_utc - start)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = (
        _builder(_name(name), ca_cert.subject, key.public_key(), start, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_LEAF_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage(roles), critical=False)
        .add_extension(issuer_id, critical=False)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return _pair(builder.sign(ca_key, hashes.SHA256()), key, chain)


def write_pair(pair: KeyPair, cert: Path, key: Path) -> None:
    """Write both PEM files; the key goes first, so a certificate never lacks its key."""
    write_private(key, pair.key)
    write_private(cert, pair.cert)


def read_pair(cert: Path, key: Path) -> KeyPair:
    """Read what ``write_pair`` wrote."""
    return KeyPair(cert=cert.read_bytes(), key=key.read_bytes())


def write_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600, atomically and durably: old or new, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def server_context(files: TlsFiles, *, client_certs: bool = False) -> ssl.SSLContext:
    """Make a gRPC server's context: h2, TLS 1.2 or newer.

    A client may show a certificate of the CA, and must when ``client_certs``; one of another CA
    is refused either way.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED if client_certs else ssl.CERT_OPTIONAL
    context.load_cert_chain(files.cert, files.key)
    _harden(context, files.ca)
    return context


def web_context(files: TlsFiles) -> ssl.SSLContext:
    """Make the context of a web server that asks nobody for a certificate: TLS 1.2 or newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    _harden(context, files.ca)
    context.set_alpn_protocols(["http/1.1"])
    return context


def client_context(ca: Path, identity: TlsFiles | None = None) -> ssl.SSLContext:
    """Make a gRPC client's context: it trusts ``ca`` alone and checks the server's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if identity is not None:
        context.load_cert_chain(identity.cert, identity.key)
    _harden(context, ca)
    return context


def fingerprint(cert: bytes) -> str:
    """Return the SHA-256 of a certificate, PEM or DER, in lower-case hex."""
    if cert.lstrip().startswith(b"-----BEGIN"):
        loaded = x509.load_pem_x509_certificate(cert)
        return loaded.fingerprint(hashes.SHA256()).hex()
    return hashlib.sha256(cert).hexdigest()


def certificates_in(pem: bytes) -> tuple[bytes, ...]:
    """Part a PEM file into its certificates, each as PEM; raise ValueError when it has none."""
    loaded = x509.load_pem_x509_certificates(pem)
    return tuple(cert.public_bytes(serialization.Encoding.PEM) for cert in loaded)


def issued_by(ca: bytes, cert: bytes) -> bool:
    """Tell whether a PEM certificate was signed by the key of the CA's first one."""
    leaf, issuer = (x509.load_pem_x509_certificate(pem) for pem in (cert, ca))
    try:
        leaf.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def matches(cert: bytes, key: bytes) -> bool:
    """Tell whether a PEM certificate and a private key belong together."""
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except ValueError:
        return False
    public = x509.load_pem_x509_certificate(cert).public_key()
    return bool(private.public_key() == public)


def hosts_of(cert: bytes) -> tuple[str, ...]:
    """Return the DNS names and addresses that a PEM certificate is for."""
    extensions = x509.load_pem_x509_certificate(cert).extensions
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    ips = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *map(str, ips))


def expires(cert: bytes) -> datetime:
    """Return when a PEM certificate ceases to hold (UTC)."""
    return x509.load_pem_x509_certificate(cert).not_valid_after_utc


def begins(cert: bytes) -> datetime:
    """Return when a PEM certificate begins to hold (UTC)."""
    return x509.load_pem_x509_certificate(cert).not_valid_before_utc


def common_name(cert: bytes) -> str:
    """Return the common name that a PEM certificate was issued for; empty when it has none."""
    names = x509.load_pem_x509_certificate(cert).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _harden(context: ssl.SSLContext, ca: Path) -> None:
    context.load_verify_locations(ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["h2"])


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Mulligan"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    start: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - CLOCK_SKEW)
        .not_valid_after(start + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


_CA_USAGE, _LEAF_USAGE = _key_usage(signs_certificates=True), _key_usage(signs_certificates=False)


def _loaded(pair: KeyPair) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = serialization.load_pem_private_key(pair.key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate(pair.cert), key


def _pair(cert: x509.Certificate, key: ec.EllipticCurvePrivateKey, chain: bytes = b"") -> KeyPair:
    return KeyPair(
        cert=cert.public_bytes(serialization.Encoding.PEM) + chain,
        key=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
