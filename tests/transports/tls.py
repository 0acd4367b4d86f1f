"""TLS for 127.0.0.1: a self-signed certificate that is good for a century, and only for tests."""

from __future__ import annotations

import ssl
import tempfile

__all__ = ["client_context", "server_context"]

KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAIVfQknqz0ePBQt3
nTDCJli5fbSp6DsQ9Dh7kK1NX6uhRANCAASPdxK8wGJL17XlV95VEKzYCJIWz6Vm
SI6tRDEz6GVCU5cEd0S7XKwRaaNJwhFLvhFNY7NcobtwGNZXLmoPf/IH
-----END PRIVATE KEY-----
"""

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBojCCAUigAwIBAgIUTUC/AqmrsWw58vxyd11GpNeUH8YwCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSdHJpb19zaWduYWxyIHRlc3RzMCAXDTI2MTEyMTEyMzI0NloY
DzIxMjYxMDI4MTIzMjQ2WjAdMRswGQYDVQQDDBJ0cmlvX3NpZ25hbHIgdGVzdHMw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASPdxK8wGJL17XlV95VEKzYCJIWz6Vm
SI6tRDEz6GVCU5cEd0S7XKwRaaNJwhFLvhFNY7NcobtwGNZXLmoPf/IHo2QwYjAd
BgNVHQ4EFgQUJ0RZAse+t3SwMGVVYhvxUHPYXhcwHwYDVR0jBBgwFoAUJ0RZAse+
t3SwMGVVYhvxUHPYXhcwDwYDVR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAAB
MAoGCCqGSM49BAMCA0gAMEUCIQDH9aayi0OWa9Snw09bHCFRzwXwAQbYfyZRASpF
vY07aAIgMHsk0znsQvGpsMhgxye46C35TqngJPHKkiWcVfMIeZw=
-----END CERTIFICATE-----
"""


def server_context(*, asks_for_certificate: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_certificate(context)
    if asks_for_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=CERTIFICATE)
    return context


def client_context(*, with_certificate: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CERTIFICATE)
    if with_certificate:
        _load_certificate(context)
    return context


def _load_certificate(context: ssl.SSLContext) -> None:
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(KEY + CERTIFICATE)
        file.flush()
        context.load_cert_chain(file.name)
