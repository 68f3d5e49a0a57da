"""What starts the tools of the test rules."""

# Paths are those of runfiles, in which Bazel starts a test; further arguments are the user's (--test_arg).
_LAUNCHER = """\
#!/bin/sh
outputs=${TEST_UNDECLARED_OUTPUTS_DIR:-}
exec '%s' '@%s' \\
%s  "$@"
"""

# Of every test rule.
TEST_ATTRS = {
    "env": attr.string_dict(
        doc = "Environment variables of the test, over those of `--test_env`.",
    ),
    "env_inherit": attr.string_list(
        doc = "Environment variables that the test has as the caller of Bazel has them.",
    ),
}

def test_launcher(ctx, tool, lines, files, options = "", runfiles = []):
    """Makes the target a test that runs a tool.

    Args:
      ctx: of the test rule, which has TEST_ATTRS
      tool: the tool, a struct of NpuToolsInfo
      lines: list of strings, its arguments, one a line of a file; files by their short paths
      files: list of Files that the tool reads
      options: lines of shell script, further arguments
      runfiles: list of further runfiles

    Returns:
      the providers of the test
    """
    arguments = ctx.actions.declare_file(ctx.label.name + ".arguments")
    ctx.actions.write(arguments, "\n".join(lines) + "\n")
    launcher = ctx.actions.declare_file(ctx.label.name)
    executable = tool.executable.short_path
    for path in (executable, arguments.short_path):
        if "'" in path:
            fail("the path %s has a quote in it, which no shell script can name; rename the target or its package" % path)
    ctx.actions.write(launcher, _LAUNCHER % (executable, arguments.short_path, options), is_executable = True)
    everything = ctx.runfiles([arguments] + files).merge_all([tool.runfiles] + runfiles)
    return [
        DefaultInfo(executable = launcher, runfiles = everything),
        RunEnvironmentInfo(environment = ctx.attr.env, inherited_environment = ctx.attr.env_inherit),
    ]
