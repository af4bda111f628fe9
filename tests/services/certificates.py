"""Certificates for one run of the tests: an authority, and what it vouches for."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM format."""

    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path, names: str = "IP:127.0.0.1,DNS:localhost") -> Certificates:
    """A new authority, and a certificate for these names by it, as files in the folder.

    ``names`` is a subjectAltName as OpenSSL writes it. Both are good for a day.
    """
    authority, authority_key = folder / "ca.crt", folder / "ca.key"
    certificate, key = folder / "server.crt", folder / "server.key"
    _openssl(authority_key, authority, "/CN=vtasks tests", "-addext", "keyUsage=keyCertSign")
    signed = ("-addext", f"subjectAltName={names}", "-addext", "basicConstraints=CA:FALSE")
    by = ("-CA", str(authority), "-CAkey", str(authority_key))
    _openssl(key, certificate, "/CN=server", *signed, *by)
    return Certificates(authority, certificate, key)


def _openssl(key: Path, certificate: Path, subject: str, *more: str) -> None:
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    files = ["-keyout", str(key), "-out", str(certificate), "-subj", subject]
    done = subprocess.run(
        ["openssl", "req", "-x509", *new, *files, *more], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
