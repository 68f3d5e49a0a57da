"""The flag that chooses among the versions of Python."""

version_flag = rule(
    implementation = lambda ctx: [],
    build_setting = config.string(flag = True),
    doc = "A version of Python, major and minor.",
)
