"""Stands in for @rules_python//python:pip.bzl: the part of pip_parse that WORKSPACE uses.

The whole lock becomes one repository, made by one `pip install` or from packages that are
installed already.
"""

def _checked(rctx, command):
    done = rctx.execute(command, timeout = rctx.attr.timeout)
    if done.return_code != 0:
        fail("%s failed:\n%s%s" % (" ".join([str(word) for word in command]), done.stdout, done.stderr))
    return done.stdout

def _install(rctx, python, lock):
    """Installs the lock into a virtual environment; returns its site-packages."""
    rctx.report_progress("Installing %s" % lock)
    _checked(rctx, [python, "-m", "venv", "venv"])
    _checked(rctx, [
        "venv/bin/python",
        "-m",
        "pip",
        "install",
        "--require-hashes",
        "--no-deps",
        "--quiet",
        "-r",
        lock,
    ] + rctx.attr.extra_pip_args)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return _checked(rctx, ["venv/bin/python", "-c", where]).strip()

def _pip_parse_impl(rctx):
    python = rctx.path(rctx.attr.python_interpreter_target)
    lock = rctx.path(rctx.attr.requirements_lock)
    lay_out = rctx.path(rctx.attr._lay_out)
    site = rctx.os.environ.get("PIP_PARSE_SITE_PACKAGES", "") or _install(rctx, python, lock)
    rctx.report_progress("Laying out %s" % site)
    _checked(rctx, [python, lay_out, "--lock", lock, "--repository", rctx.name, "--site-packages", site])

pip_parse = repository_rule(
    implementation = _pip_parse_impl,
    attrs = {
        "extra_pip_args": attr.string_list(),
        "python_interpreter_target": attr.label(allow_single_file = True, mandatory = True),
        "requirements_lock": attr.label(allow_single_file = True, mandatory = True),
        "timeout": attr.int(default = 600),
        "_lay_out": attr.label(
            allow_single_file = True,
            default = "@sluice//tools/build:lay_out.py",
        ),
    },
    environ = ["PIP_PARSE_SITE_PACKAGES"],
)
