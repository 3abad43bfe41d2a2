"""rust_front_end: vLLM's Rust front end for images, from an environment or from vLLM's wheel."""

_BUILD = """\
exports_files(
    ["bin/vllm-rs"],
    visibility = ["//visibility:public"],
)
"""

# Images are for this kind of machine (tools/build/oci_archive.py).
_MACHINE = "x86_64"

def _checked(rctx, command):
    done = rctx.execute(command, timeout = 1200)
    if done.return_code != 0:
        fail("%s failed:\n%s%s" % (" ".join([str(word) for word in command]), done.stdout, done.stderr))

def _rust_front_end_impl(rctx):
    # The hash decides, wherever it comes from. Label by label, so that a new pin is seen.
    requirements = rctx.path(rctx.attr.sha256).dirname
    rctx.path(rctx.attr.lock)
    _checked(rctx, [rctx.path(rctx.attr.python), "-m", "venv", "scratch"])
    rctx.report_progress("Fetching vLLM's Rust front end")
    _checked(rctx, [
        "scratch/bin/python",
        rctx.path(rctx.attr._fetch),
        "--requirements=%s" % requirements,
        "--environment=.",
        "--others=%s/.venvs" % rctx.path(Label("//:WORKSPACE")).dirname,
        "--machine=" + _MACHINE,
    ])
    rctx.delete("scratch")
    rctx.file("BUILD.bazel", _BUILD)

rust_front_end = repository_rule(
    implementation = _rust_front_end_impl,
    attrs = {
        "lock": attr.label(allow_single_file = True, mandatory = True),
        "python": attr.label(allow_single_file = True, mandatory = True),
        "sha256": attr.label(allow_single_file = True, mandatory = True),
        "_fetch": attr.label(
            allow_single_file = True,
            default = "//tools/build:rust_front_end.py",
        ),
    },
)
