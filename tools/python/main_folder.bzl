"""The main repository's folder in the runfiles of a program of another repository."""

def _impl(ctx):
    return [DefaultInfo(runfiles = ctx.runfiles(symlinks = {ctx.label.name: ctx.file.src}))]

main_folder = rule(
    implementation = _impl,
    doc = """\
In `data`, puts a file of this target's name into the main repository's folder of the runfiles.

The first lines of a `py_binary` of another repository go through that folder (`_main/../repository/main.py`).  Bazel makes an empty
one by a virtual file, which 7.7.1 leaves out of the sandbox of a multiplex worker.
""",
    attrs = {
        "src": attr.label(
            doc = "Any file; best one that the program has anyway.",
            allow_single_file = True,
            mandatory = True,
        ),
    },
)
