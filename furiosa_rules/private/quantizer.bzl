"""What the rules that run the quantizer share."""

load(":default_npu.bzl", "reset_transition")
load(":execution_requirements.bzl", "EXECUTION_REQUIREMENTS")
load(":model_data.bzl", "location")

TOOLS_TYPE = Label("//furiosa_rules:tools_toolchain_type")

THREADS = 2  # of onnxruntime (compiler/furiosa/quantizer/calibrate/float_run.py)

QUANTIZER_ATTRS = {
    "model_data": attr.label_list(
        doc = "Files that `src` refers to: the external data of the model, as `data` of `npu_model`.",
        allow_files = True,
        cfg = reset_transition,
    ),
    "src": attr.label(
        doc = "The float model, `.onnx`.",
        allow_single_file = [".onnx"],
        cfg = reset_transition,
        mandatory = True,
    ),
}

def _resources(_os, _inputs):
    return {"cpu": THREADS}

def arguments(ctx, command, output):
    """The beginning of a command line: the command, the model with its data, and the output.

    Args:
      ctx: the context of a rule with QUANTIZER_ATTRS
      command: string, the command
      output: File, what it writes

    Returns:
      an Args
    """
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add(command)
    args.add(ctx.file.src)
    args.add("-o", output)
    args.add("--hermetic")
    for file in ctx.files.model_data:
        where = (location(ctx.file.src, file) or "").replace("=", "==").replace("%", "%%")
        args.add(file, format = "--model-data=" + where + "=%s")
    return args

def run(ctx, args, inputs, output, mnemonic, progress_message, is_heavy = False):
    """Adds an action that runs the quantizer.

    Args:
      ctx: the context of a rule with QUANTIZER_ATTRS
      args: Args, as `arguments` begins them
      inputs: list of Files beside the model and its data
      output: File
      mnemonic: string
      progress_message: string
      is_heavy: whether it runs the model
    """
    tool = ctx.toolchains[TOOLS_TYPE].npu_tools.quantizer
    ctx.actions.run(
        executable = tool.executable,
        arguments = [args],
        tools = tool.tools,
        toolchain = TOOLS_TYPE,
        inputs = [ctx.file.src] + ctx.files.model_data + inputs,
        outputs = [output],
        env = {},
        execution_requirements = EXECUTION_REQUIREMENTS,
        mnemonic = mnemonic,
        progress_message = progress_message,
        resource_set = _resources if is_heavy else None,
    )
