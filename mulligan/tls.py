"""A region's small certificate authority, and the TLS contexts of gRPC servers and clients.

Keys are EC P-256. Private keys are written with mode 0600, whole or not at all.
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
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE = timedelta(days=3652)
LEAF_LIFE = timedelta(days=365)
CLOCK_SKEW = timedelta(minutes=5)
"""Certificates begin to hold this long before they are made."""


class KeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate and its private key, both PEM."""

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
    """Make a CA that signs leaf certificates only; it holds for ten years from ``now``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    start = now or datetime.now(UTC)
    usage = _key_usage(key_cert_sign=True, crl_sign=True, digital_signature=True)
    cert = (
        _builder(subject, subject, key.public_key(), start, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(cert, key)


def issue(
    ca: KeyPair,
    name: str,
    *,
    dns: Sequence[str] = (),
    ips: Sequence[str] = (),
    server: bool = False,
    client: bool = False,
    now: datetime | None = None,
) -> KeyPair:
    """Issue a certificate for ``name``; it holds for a year, though never longer than the CA.

    ``server`` and ``client`` are the roles it may play. Raise ValueError when there is none, or
    when a server has no DNS name or address to be known by.
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
    ca_cert = x509.load_pem_x509_certificate(ca.cert)
    ca_key = serialization.load_pem_private_key(ca.key, password=None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    start = now or datetime.now(UTC)
    life = min(LEAF_LIFE, ca_cert.not_valid_after_utc - start)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = (
        _builder(_name(name), ca_cert.subject, key.public_key(), start, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(roles), critical=False)
        .add_extension(issuer_id, critical=False)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return _pair(builder.sign(ca_key, hashes.SHA256()), key)


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


def expires(cert: bytes) -> datetime:
    """Return when a PEM certificate ceases to hold (UTC)."""
    return x509.load_pem_x509_certificate(cert).not_valid_after_utc


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


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        cert=cert.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
