"""The macro that compiles one model for several NPUs and batch sizes."""

load(":npu_model.bzl", "npu_model")
load(":npu_model_matrix_rule.bzl", _npu_model_matrix = "npu_model_matrix")

def npu_model_matrix(name, src, target_npus = ["warboy", "warboy-2pe"], batch_sizes = [1], visibility = None, tags = None, testonly = None, **kwargs):
    """Compiles one model for each NPU and each batch size.

    Makes an `npu_model` for each pair, named after both: `resnet50_enf` gives `resnet50_warboy_b1_enf`,
    `resnet50_warboy_b4_enf`, `resnet50_warboy-2pe_b1_enf`, ... which write `resnet50_warboy_b1.enf`, ...; with the batch size
    `"auto"` it is `resnet50_warboy_auto_enf`. A name without `_enf` at its end gives targets without it. `name` itself has all the ENFs.

    Args:
      name: the name of the target of all, from which those of the models are made
      src: the model file; a `select()` works
      target_npus: list of strings, the NPUs; names are made of it, so it cannot be a `select()`
      batch_sizes: list of ints or `"auto"`, the batch sizes, likewise
      visibility: of all targets
      tags: of all targets
      testonly: of all targets
      **kwargs: further attributes of each `npu_model`
    """
    error = matrix_error(target_npus, batch_sizes, kwargs)
    if error:
        fail("npu_model_matrix %s: %s" % (name, error))

    suffix = "_enf" if name.endswith("_enf") and name != "_enf" else ""
    common = dict(visibility = visibility, tags = tags, testonly = testonly)
    models = []
    for npu in target_npus:
        for size in batch_sizes:
            part = size if size == "auto" else "b%d" % size
            models.append("%s_%s_%s%s" % (name.removesuffix(suffix), npu, part, suffix))
            npu_model(
                name = models[-1],
                src = src,
                batch_size = size,
                target_npu = npu,
                **(kwargs | common)
            )
    _npu_model_matrix(name = name, models = models, **common)

def matrix_error(target_npus, batch_sizes, others):
    """What is wrong with a matrix, in one sentence.

    Args:
      target_npus: the attribute of that name
      batch_sizes: the attribute of that name
      others: the names of further attributes, which are those of `npu_model`

    Returns:
      the sentence, or None where nothing is wrong
    """
    for attribute in ("target_npu", "batch_size"):
        if attribute in others:
            return "%s is for npu_model; here it is %ss, a list" % (attribute, attribute)
    for attribute, values, kind, word in (("target_npus", target_npus, "string", ""), ("batch_sizes", batch_sizes, "int", "auto")):
        if type(values) == "select":
            return "%s is a select(), but names are made of it; use npu_model with a select() in %s" % (attribute, attribute[:-1])
        if type(values) != "list" or not values or [v for v in values if type(v) != kind and (not word or v != word)]:
            return "%s is %r, but must be a list of at least one %s%s" % (attribute, values, kind, " or %r" % word if word else "")
        for i, value in enumerate(values):
            if value in values[:i]:
                return "%s holds %r twice" % (attribute, value)
    for size in batch_sizes:
        if size != "auto" and size < 1:
            return "batch_sizes holds %d, but a batch size is at least 1" % size
    return None
