"""Server credentials from PEM files."""

from __future__ import annotations

from pathlib import Path

import grpc

from server.config import ListenConfig
from server.errors import StartFailed


def credentials(config: ListenConfig) -> grpc.ServerCredentials | None:
    """Build the credentials `config` names, None for plain text. Raises StartFailed for missing or unpaired files."""
    if config.tls_certificate is None and config.tls_key is None and config.tls_client_authorities is None:
        return None
    if config.tls_certificate is None or config.tls_key is None:
        raise StartFailed("listen.tls_certificate and listen.tls_key go together: one of them is missing")
    authorities = (
        _read(config.tls_client_authorities, "tls_client_authorities") if config.tls_client_authorities else None
    )
    return grpc.ssl_server_credentials(
        [(_read(config.tls_key, "tls_key"), _read(config.tls_certificate, "tls_certificate"))],
        root_certificates=authorities,
        require_client_auth=authorities is not None,
    )


def _read(path: str, key: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StartFailed(f"listen.{key}: {path}: {error.strerror}") from error
