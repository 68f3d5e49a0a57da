"""The macro that compiles a model file to an ENF."""

load(":npu_model_rule.bzl", "AUTO", _npu_model = "npu_model")
load(":selection.bzl", "as_text")

def npu_model(
        name,
        src,
        target_npu = None,
        batch_size = None,
        max_host_operators = None,
        min_npu_coverage = None,
        compatibility = None,
        data = None,
        copts = None,
        optimize = None,
        host_trial = None,
        input_shapes = None,
        dims = None,
        inputs = None,
        outputs = None,
        signature = None,
        **kwargs):
    """Compiles an ONNX or TFLite model to an ENF, an executable for an NPU.

    A target `foo_enf` writes `foo.enf`; any other name `x` writes `x.enf`. The ENF is also in the runfiles, so a `py_binary` or
    `py_test` that has the target in `data` finds it. Every build checks the ENF (`--norun_validations` switches that off).

    Output groups: `report` (the compiler's report, JSON), `html` (the report as a page to look at), `memory` (a page of SRAM over time),
    `trace` (the simulated run as a Chrome trace), `dot` (the compiled graph, Graphviz).

    Each argument may be a `select()`.

    Args:
      name: the name of the target
      src: label, the model file, `.onnx` or `.tflite`
      target_npu: string, the NPU: `warboy` (one PE) or `warboy-2pe` (both PEs fused); left out: that of the bundle, else of the target
        platform, else of the setting `//furiosa_rules/settings:target_npu` (`warboy-2pe`)
      batch_size: int, samples in one inference, at least 1, or `"auto"`: the compiler takes that with the best predicted throughput (docs/cli.md);
        left out: the setting `//furiosa_rules/settings:batch_size` (1). In a `select()`, which holds ints, -1 stands for `"auto"`
      max_host_operators: int, how many of the model's operators may run on the host, e.g. 0; left out: any number
      min_npu_coverage: string, the least share of the model's multiply-accumulates that the NPU must do, `0` to `1`, e.g. `0.95`; the build
        fails with the compiler's table of what runs where and why if it does less, and leaves no file. For a model
        without multiply-accumulates it is the share of its operators. Where nobody can tell how much an operator multiplies (a loop that the
        data ends), the build fails and names it. A string, as Bazel's attributes know no fractions
      compatibility: string, the release of the vendor's SDK whose operators the NPU may take, `0.6.3` or `0.10`; left out, or
        `latest`: `0.10` (docs/operators.md)
      data: list of labels, files that `src` refers to: the external data of an ONNX model. The compiler reads no others, whatever the strategy. They may be
        generated, and of other packages and repositories (docs/rules.md)
      copts: list of strings, more options for the compiler, one argument each; those that are the business of the rule are refused
      optimize: int, how much the compiler tries for a schedule of less time, 0 to 2; left out: 1 (docs/cli.md)
      host_trial: bool, whether the check of the ENF loads and runs once, in a process of its own, each part of the model that runs on the
        host (docs/cli.md); left out: `True`; `False` for a part that only the inputs of the model's users suit
      input_shapes: dict, the shapes of inputs whose dimensions the model leaves open, `{"images": "1x3x640x640"}` or, but in a
        `select()`, `{"images": [1, 3, 640, 640]}`; an open dimension 0 that is left out is 1 (docs/cli.md)
      dims: dict, the sizes of open dimensions by the names that an ONNX model has for them, `{"height": "640"}` or, but in a `select()`,
        `{"height": 640}`
      inputs: list of strings, tensors of the model at which it is cut: the ENF begins there; left out: the model's inputs, as far as the outputs
        need them
      outputs: list of strings, tensors of the model at which it is cut: the ENF ends there, e.g. before NonMaxSuppression; left out: the model's
        outputs
      signature: string, the signature of a TFLite model that is compiled, with its names of inputs and outputs; needed where the model has several
      **kwargs: what every rule takes: `tags`, `visibility`, ...
    """
    error = batch_size_error(batch_size)
    if error:
        fail("npu_model %s: %s" % (name, error))
    _npu_model(
        name = name,
        src = src,
        batch_size = AUTO if batch_size == "auto" else batch_size,
        compatibility = compatibility,
        copts = copts,
        data = data,
        dims = as_text(dims),
        input_shapes = as_text(input_shapes),
        inputs = inputs,
        max_host_operators = max_host_operators,
        min_npu_coverage = min_npu_coverage,
        host_trial = host_trial,
        optimize = optimize,
        outputs = outputs,
        signature = signature,
        target_npu = target_npu,
        **kwargs
    )

def batch_size_error(batch_size):
    """What is wrong with a batch size, in one sentence, as far as it can be seen while loading.

    Args:
      batch_size: the argument of that name

    Returns:
      the sentence, or None where nothing is wrong
    """
    if type(batch_size) == "string" and batch_size != "auto":
        return "batch_size is %r, but must be an int or \"auto\"" % batch_size
    return None
