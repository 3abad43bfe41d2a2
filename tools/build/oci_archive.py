"""Writes a container image as an OCI archive: the same bytes for the same inputs.

The plan is a JSON file with the base layer's tar, the image's configuration, and for every other
layer its files as pairs [path in the image, path here]; a folder stands for all that it holds.
Times, owners and order are fixed, so two builds of one plan have one digest.

Source: OCI image specification 1.0 (image layout, manifest, configuration).
"""

import argparse
import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeAlias, TypedDict, cast

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EPOCH = "1970-01-01T00:00:00Z"

Json: TypeAlias = "str | int | Sequence[Json] | Mapping[str, Json]"


class Plan(TypedDict):
    """What the image rule asks for."""

    base: str
    config: dict[str, Json]
    layers: list[list[tuple[str, str]]]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A stored part of the image; diff_id is the digest of an uncompressed layer."""

    media_type: str
    digest: str
    size_bytes: int
    diff_id: str = ""

    def descriptor(self) -> dict[str, Json]:
        """Returns the form in which manifest and index name this blob."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}


class HashingWriter:
    """Passes bytes on and remembers their digest and number."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def digest(self) -> str:
        """The digest of what was written so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes) -> int:
        """Writes all of data."""
        self._hash.update(data)
        self.size_bytes += len(data)
        return self._out.write(data)

    def flush(self) -> None:
        """Flushes the stream below."""
        self._out.flush()

    def tell(self) -> int:
        """Returns how many bytes were written."""
        return self.size_bytes


def encode(value: Json) -> bytes:
    """Encodes JSON in one canonical form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def files_of(target: str, source: Path) -> Iterator[tuple[PurePosixPath, Path]]:
    """Yields (path in the image, real file), without bytecode, for a file or a folder."""
    if not source.is_dir():
        yield PurePosixPath(target), source.resolve()
        return
    for folder, folders, names in os.walk(source, followlinks=True):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        inner = PurePosixPath(target) / os.path.relpath(folder, source)
        for name in sorted(names):
            yield inner / name, Path(folder, name).resolve()


def entry(name: str, *, mode: int, size_bytes: int = 0) -> tarfile.TarInfo:
    """Returns a tar entry of root's, without a time."""
    info = tarfile.TarInfo(name)
    info.mode, info.size = mode, size_bytes
    return info


def write_layer(pairs: Sequence[tuple[str, str]], out: BinaryIO) -> None:
    """Writes the files of a layer as a tar, sorted, every folder before what it holds."""
    members = {
        path.relative_to("/"): real
        for target, source in pairs
        for path, real in files_of(target, Path(source))
    }
    folders = {folder for path in members for folder in path.parents if folder.name}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(members.keys() | folders):
            if path in members:
                add_file(tar, str(path), members[path])
            else:
                info = entry(str(path), mode=0o755)
                info.type = tarfile.DIRTYPE
                tar.addfile(info)


def add_file(tar: tarfile.TarFile, name: str, source: Path) -> None:
    """Adds one file; of its mode only the execute bit counts."""
    with source.open("rb") as file:
        stat = os.fstat(file.fileno())
        mode = 0o755 if stat.st_mode & 0o111 else 0o644
        tar.addfile(entry(name, mode=mode, size_bytes=stat.st_size), file)


class Layout:
    """An OCI image layout in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)

    def add_layer(self, write: Callable[[BinaryIO], None]) -> Blob:
        """Stores a layer, compressed, from a function that writes its tar."""
        scratch = self._blobs / "scratch"
        with scratch.open("wb") as raw:
            outer = HashingWriter(raw)
            zipped = gzip.GzipFile(
                "", "wb", compresslevel=1, fileobj=cast("BinaryIO", outer), mtime=0
            )
            with zipped:
                inner = HashingWriter(cast("BinaryIO", zipped))
                write(cast("BinaryIO", inner))
        self._keep(scratch, outer.digest)
        return Blob(
            media_type=LAYER, digest=outer.digest, size_bytes=outer.size_bytes, diff_id=inner.digest
        )

    def add_json(self, media_type: str, value: Json) -> Blob:
        """Stores a JSON document."""
        data = encode(value)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        (self._blobs / digest.removeprefix("sha256:")).write_bytes(data)
        return Blob(media_type=media_type, digest=digest, size_bytes=len(data))

    def finish(self, manifest: Blob, name: str) -> None:
        """Writes the index that names the one image of this layout."""
        annotations = {"org.opencontainers.image.ref.name": name}
        named = {**manifest.descriptor(), "annotations": annotations}
        index: Json = {"schemaVersion": 2, "manifests": [named]}
        (self.folder / "index.json").write_bytes(encode(index))
        (self.folder / "oci-layout").write_bytes(encode({"imageLayoutVersion": "1.0.0"}))

    def _keep(self, scratch: Path, digest: str) -> None:
        scratch.rename(self._blobs / digest.removeprefix("sha256:"))


def build(plan: Plan, layout: Layout) -> Blob:
    """Fills the layout with the planned image and returns its manifest."""
    writers = [partial(copy_base, Path(plan["base"]))]
    writers += [partial(write_layer, pairs) for pairs in plan["layers"]]
    layers = [layout.add_layer(writer) for writer in writers]
    config = layout.add_json(
        CONFIG, image_config(plan["config"], [blob.diff_id for blob in layers])
    )
    manifest = layout.add_json(
        MANIFEST,
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [blob.descriptor() for blob in layers],
        },
    )
    layout.finish(manifest, plan["name"])
    return manifest


def copy_base(tar: Path, out: BinaryIO) -> None:
    """Copies the base layer's tar as it is."""
    with tar.open("rb") as base:
        shutil.copyfileobj(base, out, 1 << 20)


def image_config(config: Mapping[str, Json], diff_ids: Sequence[str]) -> Json:
    """Returns the image configuration for layers with these digests."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": EPOCH,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": EPOCH, "created_by": "bazel"} for _ in diff_ids],
    }


def pack(folder: Path, archive: Path) -> None:
    """Packs a layout into one tar, sorted and without times."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            add_file(tar, path.relative_to(folder).as_posix(), path)


def main() -> None:
    """Reads the command line, writes the archive and the file with the manifest's digest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--digest", type=Path, required=True)
    args = parser.parse_args()
    plan = cast("Plan", json.loads(args.plan.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory(dir=args.archive.parent) as scratch:
        layout = Layout(Path(scratch) / "layout")
        manifest = build(plan, layout)
        pack(layout.folder, args.archive)
    args.digest.write_text(manifest.digest + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
