import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from client import CallFailed, Client, Retry, Tls, transcript
from client.transcribe import transcribe
from tests.client.support import FakeRecognizer, serving

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="certificates are made by the openssl command")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for the name `speech.test` that signs itself, and its key."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=speech.test"
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:speech.test", "-out", files[0], "-keyout", files[1]],
        check=True,
        capture_output=True,
    )
    return files


@needs_openssl
def test_both_sides_can_demand_a_certificate(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())], root_certificates=cert.read_bytes(), require_client_auth=True
    )
    with serving(FakeRecognizer(), credentials=credentials) as address:
        known = Tls.from_files(cert, cert, key, server_name="speech.test")
        with Client(address, tls=known) as client:
            assert transcript(client.stream([b"SECRET"])).text == "SECRET"
        anonymous = Tls.from_files(cert, server_name="speech.test")
        with Client(address, tls=anonymous, retry=Retry(attempts=1)) as client, pytest.raises(CallFailed):
            list(client.stream([b"SECRET"], timeout_s=10))


@needs_openssl
def test_the_command_speaks_tls(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    (tmp_path / "a.wav").write_text("HELLO")
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    with serving(FakeRecognizer(), credentials=credentials) as address:
        arguments = ["--server", address, "--tls-ca", str(cert), "--tls-name", "speech.test", str(tmp_path / "a.wav")]
        assert CliRunner().invoke(transcribe, arguments).stdout == "a\tHELLO\n"


def test_half_a_client_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        Tls(certificate=b"x")
