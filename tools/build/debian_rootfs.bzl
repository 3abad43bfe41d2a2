"""debian_rootfs: a minimal Debian root file system as a tar, the base layer of the images."""

# What an image never reads. Empty folders stay where dpkg and apt expect them.
_PACK = """
set -eu
rm -rf rootfs/var/cache/apt rootfs/var/lib/apt/lists rootfs/var/log
rm -rf rootfs/usr/share/doc rootfs/usr/share/info rootfs/usr/share/locale rootfs/usr/share/man
mkdir -p rootfs/var/cache/apt rootfs/var/lib/apt/lists rootfs/var/log
tar --create --file=rootfs.tar --directory=rootfs --numeric-owner --sort=name --mtime=@0 \\
  --one-file-system .
rm -rf rootfs
"""

def _checked(rctx, command):
    done = rctx.execute(command, timeout = 1800)
    if done.return_code != 0:
        fail("%s failed:\n%s%s" % (command[0], done.stdout[-4000:], done.stderr[-4000:]))

def _debian_rootfs_impl(rctx):
    rctx.file("BUILD.bazel", 'exports_files(["rootfs.tar"])\n')
    given = rctx.os.environ.get("DEBIAN_ROOTFS_TAR", "")
    if given:
        rctx.symlink(given, "rootfs.tar")
        return
    debootstrap = rctx.path("/usr/sbin/debootstrap")
    if not debootstrap.exists:
        fail("Images need debootstrap (apt-get install debootstrap) or DEBIAN_ROOTFS_TAR=FILE")
    rctx.report_progress("Bootstrapping Debian %s" % rctx.attr.suite)
    include = "--include=" + ",".join(rctx.attr.packages)
    _checked(rctx, [debootstrap, "--variant=minbase", include, rctx.attr.suite, "rootfs"])
    _checked(rctx, ["sh", "-c", _PACK])

debian_rootfs = repository_rule(
    implementation = _debian_rootfs_impl,
    attrs = {
        "packages": attr.string_list(doc = "Packages beside the minimal set."),
        "suite": attr.string(mandatory = True),
    },
    environ = ["DEBIAN_ROOTFS_TAR"],
)
