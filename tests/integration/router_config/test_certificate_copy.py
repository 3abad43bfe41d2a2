"""The copy of the certificate from which HAProxy starts, where it cannot be written."""

from __future__ import annotations

from pathlib import Path

from libs.haproxy.client import HaproxyClient
from libs.testing.certificates import make_certificate
from services.router_config.adapters.haproxy.certificate import CertificateFile
from services.router_config.domain.certificate import Offered


def test_a_copy_that_cannot_be_written_ends_nothing_and_is_tried_again(tmp_path: Path) -> None:
    """What HAProxy serves already goes on; the status names the copy meanwhile."""
    source, state = tmp_path / "person.pem", tmp_path / "state"
    pem = make_certificate("one")
    source.write_text(pem)
    state.write_text("no folder")  # the kernel refuses every write below it
    file = CertificateFile(source, state, HaproxyClient(tmp_path / "admin.sock", timeout_s=1))

    file.prepare()
    said = file.copy_trouble
    state.unlink()
    found = file.look()

    assert said.startswith("certificate.pem cannot be written (")
    assert isinstance(found, Offered)
    assert file.copy_trouble == ""
    assert (state / "certificate.pem").read_text() == pem
    assert (state / "certificate.pem").stat().st_mode & 0o777 == 0o600
