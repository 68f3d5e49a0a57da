"""Provider of a program that brings its files without a tree of runfiles."""

NpuToolInfo = provider(
    doc = """\
A program that finds its files by the place of its own, among the inputs of an action as well as in runfiles. An action that runs it has
these inputs and no others: no links, no manifest, and no file twice.""",
    fields = {
        "executable": "File: the program.",
        "files": "depset of Files: what it reads, its interpreter included.",
    },
)

def tool_of(target):
    """What an action that runs a target needs.

    Args:
      target: Target, a program

    Returns:
      a struct of `executable`, a File, `tools`, a list for the argument of that name of `ctx.actions.run`, and `runfiles`, those of who runs
      it from there
    """
    info = target[DefaultInfo]
    if NpuToolInfo in target:
        return struct(
            executable = target[NpuToolInfo].executable,
            runfiles = info.default_runfiles,
            tools = [target[NpuToolInfo].files],
        )
    return struct(
        executable = info.files_to_run.executable,
        runfiles = info.default_runfiles,
        tools = [info.files_to_run],
    )
