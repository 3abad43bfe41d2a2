"""The image writer: same inputs, same bytes, and an archive that says what it holds."""

import json
import tarfile
from pathlib import Path

import pytest

from tools.build.oci_archive import Layout, Plan, build, pack


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A plan with a base layer and one layer of two files, one of them in a folder."""
    with tarfile.open(tmp_path / "base.tar", "w"):
        pass
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "module.py").write_text("answer = 42\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o700)
    layer = [("/app/packages", str(folder))]
    return Plan(base=str(tmp_path / "base.tar"), config={"User": "1:1"}, layers=[layer], name="x")


def write(plan: Plan, folder: Path) -> tuple[str, bytes]:
    """Builds an image in a folder; returns its digest and the archive."""
    layout = Layout(folder / "layout")
    manifest = build(plan, layout)
    pack(layout.folder, folder / "image.tar")
    return manifest.digest, (folder / "image.tar").read_bytes()


def test_two_builds_of_one_plan_are_the_same_bytes(plan: Plan, tmp_path: Path) -> None:
    """An image can be compared by its digest."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    first, second = write(plan, tmp_path / "a"), write(plan, tmp_path / "b")

    assert first == second


def test_the_index_leads_to_layers_that_hold_the_files(plan: Plan, tmp_path: Path) -> None:
    """Following digests from the index ends at the files, with their execute bits."""
    layout = Layout(tmp_path / "layout")

    build(plan, layout)

    def blob(digest: str) -> Path:
        return layout.folder / "blobs" / digest.replace(":", "/")

    index = json.loads((layout.folder / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    with tarfile.open(blob(manifest["layers"][1]["digest"])) as tar:
        modes = {member.name: member.mode for member in tar.getmembers() if member.isfile()}
    assert modes == {"app/packages/module.py": 0o644, "app/packages/run.sh": 0o755}
