"""The rule that makes a program of few files of Python libraries."""

load("@rules_python//python:py_info.bzl", "PyInfo")
load("//furiosa_rules:defs.bzl", "NpuToolInfo")

_TOOLCHAIN_TYPE = "@rules_python//python:toolchain_type"

# Of /bin/sh alone, and no PATH: an executor may have no other program. -I and -S: nothing that the machine has installed is imported.
_LAUNCHER = """\
#!/bin/sh
here=${{0%/*}}
case $here in /*) ;; "$0") here=$PWD ;; *) here=$PWD/$here ;; esac
for python in {interpreters}; do
  if [ -x "$python" ]; then exec "$python" -I -S "$here/{program}" "$@"; fi
done
echo "ERROR: {name}: none of the Python interpreters that the build has for it is there:" {interpreters} >&2
exit 127
"""

_RuntimeInfo = provider(
    doc = "A Python interpreter.",
    fields = {
        "files": "depset of Files: what it needs, itself included; empty where it belongs to the machine.",
        "interpreter": "File, or None where it belongs to the machine.",
        "path": "string: its path where it belongs to the machine.",
    },
)

def _runtime_of(ctx):
    runtime = ctx.toolchains[_TOOLCHAIN_TYPE].py3_runtime
    interpreter = runtime.interpreter
    return _RuntimeInfo(
        files = depset([interpreter], transitive = [runtime.files]) if interpreter else depset(),
        interpreter = interpreter,
        path = runtime.interpreter_path,
    )

python_runtime = rule(
    implementation = lambda ctx: [_runtime_of(ctx)],
    doc = "The Python interpreter of the configuration, for attributes of another one.",
    toolchains = [_TOOLCHAIN_TYPE],
)

def _is_native(name):
    """Whether a file is a shared library, e.g. `libfoo.so.5` or `_foo.cpython-311-x86_64-linux-gnu.so`."""
    return "so" in name.split(".")[1:] or name.endswith((".dylib", ".pyd", ".dll"))

def _runfiles_path(file, main):
    path = file.short_path
    return path.removeprefix("../") if path.startswith("../") else main + "/" + path

def _is_unused(path, unused):
    for prefix in unused:
        if path == prefix or path.startswith(prefix[:-1] if prefix.endswith("*") else prefix + "/"):
            return True
    return "tests" in path.split("/")[:-1]

def _destination(path, roots, unused):
    """Where a file of runfiles lies below its entry of sys.path; None where the program does not read it."""
    _, separator, below = path.partition("/site-packages/")
    if separator:  # of a wheel only what is executed
        is_code = below.endswith(".py") or _is_native(below.split("/")[-1])
        return below if is_code and not _is_unused(below, unused) else None
    if path.endswith(".pyc"):
        return None
    for root in roots:
        if path.startswith(root + "/"):
            return path[len(root) + 1:]
    return None

def _files(ctx):
    """The files by their paths below sys.path; those that lie in several places there as the first of them says."""
    imports = depset(transitive = [d[PyInfo].imports for d in ctx.attr.deps])
    roots = reversed(sorted(imports.to_list()))  # the inner one of two first
    transitive = [d[PyInfo].transitive_sources for d in ctx.attr.deps]
    transitive += [d[DefaultInfo].default_runfiles.files for d in ctx.attr.deps]
    found = []
    for file in depset(transitive = transitive).to_list():
        path = _destination(_runfiles_path(file, ctx.workspace_name), roots, ctx.attr.unused)
        if path:
            found.append((path, file))
    return found

def _relative(path, folder):
    """The path relative to a folder; both from the same place."""
    ups, parts = folder.split("/"), path.split("/")
    for _ in range(len(ups)):
        if not ups or ups[0] != parts[0] or parts[0] == "..":
            break
        ups, parts = ups[1:], parts[1:]
    return "/".join([".."] * len(ups) + parts)

def _interpreters(ctx, launcher, runtime):
    """Where the launcher looks for the interpreter: beside the other inputs of an action, and in runfiles."""
    if not runtime.interpreter:
        return [runtime.path]
    folders = (launcher.dirname, _runfiles_path(launcher, ctx.workspace_name).rpartition("/")[0])
    paths = (runtime.interpreter.path, _runfiles_path(runtime.interpreter, ctx.workspace_name))
    return ["$here/" + _relative(path, folder) for path, folder in zip(paths, folders)]

def _pack(ctx, program, modules, natives):
    """Adds the action that writes the archive of all modules."""
    runtime = ctx.attr._pack_runtime[_RuntimeInfo]
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add(program)
    args.add(ctx.attr.entry)
    for path, file in modules:
        args.add("file")
        args.add(path)
        args.add(file)
    for path, _ in natives:
        args.add("native")
        args.add(path)
    before = ctx.actions.args()
    before.add_all(["-I", "-S"])
    before.add(ctx.file._pack)
    ctx.actions.run(
        executable = runtime.interpreter or runtime.path,
        arguments = [before, args],
        inputs = [ctx.file._pack] + [file for _, file in modules],
        outputs = [program],
        tools = runtime.files,
        execution_requirements = {
            "block-network": "1",
            "supports-path-mapping": "1",
        },
        mnemonic = "PythonTool",
        progress_message = "Packing the program %{label}",
    )

def _impl(ctx):
    name = ctx.label.name
    runtime = _runtime_of(ctx)
    modules, natives = [], []
    for path, file in _files(ctx):
        (natives if _is_native(file.basename) else modules).append((path, file))
    program = ctx.actions.declare_file(name + ".files/program.zip")
    _pack(ctx, program, modules, natives)
    files = [program]
    for path, file in natives:
        link = ctx.actions.declare_file(name + ".files/" + path)
        ctx.actions.symlink(output = link, target_file = file)
        files.append(link)
    launcher = ctx.actions.declare_file(name)
    ctx.actions.write(launcher, _LAUNCHER.format(
        interpreters = " ".join(['"%s"' % path for path in _interpreters(ctx, launcher, runtime)]),
        name = name,
        program = name + ".files/program.zip",
    ), is_executable = True)
    return [
        DefaultInfo(
            executable = launcher,
            files = depset([launcher]),
            runfiles = ctx.runfiles(files, transitive_files = runtime.files),
        ),
        NpuToolInfo(
            executable = launcher,
            files = depset(files, transitive = [runtime.files]),
        ),
    ]

python_tool = rule(
    implementation = _impl,
    doc = """\
A program for build actions, of few files: Bazel maps, digests and sends each input of each action.

`<name>` starts the interpreter of the Python toolchain, with `<name>.files/program.zip`, which holds the bytecode of every module, and, beside
it, links to the shared libraries, which no interpreter loads out of an archive. Of wheels only modules and shared libraries are there, and
no tests. There are no runfiles to find, so it makes no difference how a build lays them out, or whether.
""",
    attrs = {
        "deps": attr.label_list(
            doc = "The libraries.",
            mandatory = True,
            providers = [PyInfo],
        ),
        "entry": attr.string(
            doc = "What is called, `MODULE:FUNCTION`; the function returns the exit status.",
            mandatory = True,
        ),
        "unused": attr.string_list(
            doc = "Of wheels: folders and files below `site-packages` that nothing imports which the program runs; with `*` at its end all that begins so.",
        ),
        "_pack": attr.label(
            default = "//tools/python:pack.py",
            allow_single_file = True,
        ),
        "_pack_runtime": attr.label(
            default = "//tools/python:runtime",
            cfg = "exec",
        ),
    },
    executable = True,
    provides = [NpuToolInfo],
    toolchains = [_TOOLCHAIN_TYPE],
)
