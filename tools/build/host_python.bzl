"""host_python: a Python toolchain made of an interpreter that this machine has."""

_BUILD = """\
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

package(default_visibility = ["//visibility:public"])

exports_files(["python"])

# vLLM's Rust front end, where the environment has it: tests that start engines list it as data, so
# that their results are not taken over from a run without it.
filegroup(
    name = "rust_front_end",
    srcs = glob(
        ["empty/bin/vllm-rs"],
        allow_empty = True,
    ),
)

py_runtime(
    name = "runtime",
    interpreter_path = "{python}",
    python_version = "PY3",
    stub_shebang = "#!{python}",
)

py_runtime_pair(
    name = "runtime_pair",
    py3_runtime = ":runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":runtime_pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

# The interpreter under a virtual environment counts: what is installed in the environment
# must reach a target through its deps alone.
_PROBE = """\
import os, sys
print("%d.%d" % sys.version_info[:2])
print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
"""

def _locate(rctx, name):
    return rctx.path(name) if name.startswith("/") else rctx.which(name)

def _probe(rctx, name):
    """Returns (folder, interpreter, complaint); interpreter is None with a complaint.

    The folder is the one that the name leads to, which is an environment's bin where it is one.
    """
    found = _locate(rctx, name)
    if not found or not found.exists:
        return (None, None, "%s: not found" % name)
    done = rctx.execute([found, "-c", _PROBE])
    if done.return_code != 0:
        return (None, None, "%s: %s" % (found, done.stderr))
    version, interpreter = done.stdout.strip().split("\n")
    if version not in rctx.attr.versions:
        return (None, None, "%s is Python %s" % (found, version))
    return (found.dirname, interpreter, None)

def _candidates(rctx):
    wanted = rctx.os.environ.get("HOST_PYTHON", "")
    if wanted:
        return [wanted]
    venv = str(rctx.path(Label("//:WORKSPACE")).dirname) + "/.venv/bin/python"
    return [venv] + ["python" + version for version in rctx.attr.versions] + ["python3"]

def _host_python_impl(rctx):
    complaints = []
    for name in _candidates(rctx):
        folder, interpreter, complaint = _probe(rctx, name)
        if complaint:
            complaints.append(complaint)
            continue
        rctx.symlink(interpreter, "python")

        # Tests run in a virtual environment without packages: what else is installed
        # beside the interpreter stays out of sight.
        made = rctx.execute([interpreter, "-m", "venv", "--without-pip", "empty"])
        if made.return_code != 0:
            fail("%s -m venv failed:\n%s" % (interpreter, made.stderr))
        program = folder.get_child("vllm-rs")
        if program.exists:
            rctx.symlink(program, "empty/bin/vllm-rs")  # found below sys.prefix, as in .venv
        rctx.file("BUILD.bazel", _BUILD.format(python = rctx.path("empty/bin/python")))
        return
    fail("Sluice needs Python %s; set HOST_PYTHON to one. Looked at:\n  %s" % (
        " or ".join(rctx.attr.versions),
        "\n  ".join(complaints),
    ))

host_python = repository_rule(
    implementation = _host_python_impl,
    attrs = {"versions": attr.string_list(mandatory = True)},
    environ = ["HOST_PYTHON", "PATH"],
    local = True,
)
