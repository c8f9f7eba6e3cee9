"""A certificate authority for a test: its certificate, and a server's key and certificate signed by it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.postgres import UNPRIVILEGED_ID


class Authority:
    """`certificate` is the PEM file to trust. A folder that holds an authority already goes on with that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority of {folder.name}")])
        self.certificate = folder / "authority.pem"
        key_file = folder / "authority.key"
        if key_file.exists():
            self._key = read_key(key_file)
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        folder.mkdir(exist_ok=True)
        write_key(self._key, key_file)
        own = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(True, 0), critical=True
        )
        self._write(own, self.certificate)

    def server_settings(self, address: str) -> dict[str, str]:
        """PostgreSQL's settings for TLS under this address, the files made."""
        key, key_file, certificate = ec.generate_private_key(ec.SECP256R1()), "server.key", "server.pem"
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        self._write(self._builder(name, key).add_extension(alternative, False), self.folder / certificate)
        path = self.folder / key_file
        write_key(key, path)
        if os.geteuid() == 0:  # the server then runs as another user, and wants the key to be its own
            os.chown(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
        return {"ssl": "on", "ssl_cert_file": str(self.folder / certificate), "ssl_key_file": str(path)}

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    def _write(self, builder: x509.CertificateBuilder, path: Path) -> None:
        signed = builder.sign(self._key, hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def write_key(key: ec.EllipticCurvePrivateKey, path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
