"""The command lines of the vendor's compilers, as the vendor documents them."""

load(":display_form.bzl", "display_form")

# command: (the words before the options, those after; what a build system must switch off)
VENDOR_COMMANDS = {
    # SDK 0.10
    "furiosa-compiler": ([], ["--no-cache"]),
    # SDK 0.6.3
    "furiosa compile": (["compile"], []),
    "furiosa-compile": ([], []),
}

# The commands that choose the batch size themselves where that is asked for.
_AUTO_BATCH_SIZE = ("furiosa compile", "furiosa-compile")

# Options that are the rule's business, and what a user wants instead. A short one may have its value attached.
_RULE_OPTIONS = {
    "--analyze-memory": "the vendor's command itself, as the rule has no such output",
    "--auto-batch-size": "batch_size",
    "--batch": "batch_size",
    "--batch-size": "batch_size",
    "--dot-graph": "the output group dot",
    "--output": "the target's name",
    "--target-ir": "the vendor's command itself, as the rule writes ENFs",
    "--target-npu": "target_npu",
    "-b": "batch_size",
    "-o": "the target's name",
}

# What the vendor's command has no option for, and cannot be left out either: it would be another model.
_NOT_IGNORABLE = ("dims", "input_shapes", "inputs", "outputs", "signature")

# What it has no option for, with the value that says nothing.
_NO_OPTION = {
    "compatibility": ("", "latest"),
    "max_host_operators": (-1,),
    "min_npu_coverage": ("",),
    "optimize": (1,),
}

def check_vendor_attributes(attributes, compiler):
    """Fails where a model asks for what the vendor's command cannot do.

    Args:
      attributes: struct of the model's attributes
      compiler: the NpuCompilerInfo
    """
    for name in _NOT_IGNORABLE:
        if getattr(attributes, name):
            fail("%s: the vendor's %s has no such option; give it a model with static shapes that ends where it shall" % (
                name,
                compiler.vendor_command,
            ))
    for name, silent in _NO_OPTION.items():
        value = getattr(attributes, name)
        if value not in silent and name not in compiler.ignores:
            fail(("%s is '%s', but the vendor's %s has no such option; leave it out, or put '%s' into `ignores` of the compiler's " +
                  "toolchain") % (name, value, compiler.vendor_command, name))
    for opt in attributes.copts:
        name = opt.split("=")[0] if opt.startswith("--") else opt[:2]
        instead = _RULE_OPTIONS.get(name)
        if instead:
            fail("copts: %s is not for npu_model; use %s" % (name, instead))

def vendor_arguments(args, compiler, src, enf, dot, target_npu, batch_size, copts):
    """Adds the arguments of the vendor's command.

    Args:
      args: the Args
      compiler: the NpuCompilerInfo
      src: File, the model
      enf: File, the ENF
      dot: File, the graph
      target_npu: string
      batch_size: int; 0: the command chooses
      copts: list of strings
    """
    before, after = VENDOR_COMMANDS[compiler.vendor_command]
    args.add_all(before)
    args.add("-o", enf)
    args.add("--target-npu", target_npu)
    if batch_size:
        args.add("--batch-size", batch_size)
    elif compiler.vendor_command in _AUTO_BATCH_SIZE:
        args.add("--auto-batch-size")
    else:
        fail("batch_size is 'auto', but the vendor's %s has no such option; give a number" % compiler.vendor_command)
    args.add("--dot-graph", dot)
    args.add_all(after)
    args.add_all(copts)
    args.add(src)

def refuse_vendor_enf(attribute, info, rule):
    """Fails where a rule that reads this repository's ENF is given one of the vendor's.

    Args:
      attribute: string, the attribute of the rule that names the model
      info: the NpuModelInfo
      rule: string, the rule
    """
    if info.vendor_command:
        fail(("%s: %s is compiled by the vendor's %s, and only the vendor's runtime reads that ENF; %s works with the default " +
              "compiler, so build it without the vendor's toolchain") % (
            attribute,
            display_form(info.label),
            info.vendor_command,
            rule,
        ))
