"""service_image: a container image of Python modules, made without a container engine."""

_APP = "/app"

def _place_in_image(file, workspace):
    """Files lie under /app as in the runfiles of a test."""
    path = file.short_path
    return _APP + "/" + (path[len("../"):] if path.startswith("../") else workspace + "/" + path)

def _layers(ctx):
    """Returns (third-party pairs, own pairs, inputs): what changes seldom is a layer below."""
    third_party, own, inputs = [], [], []
    for file in ctx.attr.program[DefaultInfo].default_runfiles.files.to_list():
        pair = [_place_in_image(file, ctx.workspace_name), file.path]
        (third_party if file.short_path.startswith("../") else own).append(pair)
        inputs.append(file)
    for program in ctx.files.programs:
        third_party.append(["/usr/bin/" + program.basename, program.path])
        inputs.append(program)
    return third_party, own, inputs

def _config(ctx):
    home = _APP + "/" + ctx.workspace_name
    imports = [_APP + "/" + path for path in ctx.attr.program[PyInfo].imports.to_list()]
    env = dict({
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONPATH": ":".join([home] + imports),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }, **ctx.attr.env)
    config = {
        "Cmd": ctx.attr.command,
        "Entrypoint": ctx.attr.entrypoint,
        "Env": ["%s=%s" % pair for pair in sorted(env.items())],
        "Labels": {"org.opencontainers.image.title": ctx.attr.image_name},
        "User": ctx.attr.user,
        "WorkingDir": home,
    }
    if ctx.attr.ports:
        config["ExposedPorts"] = {"%d/tcp" % port: {} for port in ctx.attr.ports}
    return config

def _service_image_impl(ctx):
    third_party, own, inputs = _layers(ctx)
    plan = ctx.actions.declare_file(ctx.label.name + ".plan.json")
    ctx.actions.write(plan, json.encode({
        "base": ctx.file.base.path,
        "config": _config(ctx),
        "layers": [third_party, own],
        "name": ctx.attr.image_name,
    }))
    image = ctx.actions.declare_file(ctx.label.name + ".oci.tar")
    digest = ctx.actions.declare_file(ctx.label.name + ".digest")
    ctx.actions.run(
        executable = ctx.executable._writer,
        arguments = ["--plan", plan.path, "--archive", image.path, "--digest", digest.path],
        inputs = depset([plan, ctx.file.base] + inputs),
        outputs = [image, digest],
        mnemonic = "OciArchive",
        progress_message = "Writing image %s" % ctx.attr.image_name,
    )
    return [
        DefaultInfo(files = depset([image])),
        OutputGroupInfo(digest = depset([digest])),
    ]

service_image = rule(
    implementation = _service_image_impl,
    doc = "Writes NAME.oci.tar, an OCI archive; the output group `digest` is its manifest's digest.",
    attrs = {
        "base": attr.label(allow_single_file = [".tar"], default = "@debian//:rootfs.tar"),
        "command": attr.string_list(),
        "entrypoint": attr.string_list(mandatory = True),
        "env": attr.string_dict(),
        "image_name": attr.string(mandatory = True),
        "ports": attr.int_list(),
        "program": attr.label(
            doc = "The library whose module the entry point runs, with all that it depends on.",
            mandatory = True,
            providers = [PyInfo],
        ),
        "programs": attr.label_list(
            allow_files = True,
            doc = "Files for /usr/bin: the bin folder of the image's Python (sys.prefix).",
        ),
        "user": attr.string(default = "10001:10001"),
        "_writer": attr.label(
            cfg = "exec",
            default = "//tools/build:oci_archive",
            executable = True,
        ),
    },
)
