"""Runs the models side by side over the samples."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from tempfile import gettempdir
from typing import NamedTuple

from furiosa.enf import progress
from furiosa.enf.outputs import temporary_folder
from furiosa.runtime.accuracy.metrics import METRICS, Metric
from furiosa.runtime.accuracy.models import Arrays, Measured, Program, ReferenceModel, check_feeds, fed
from furiosa.runtime.accuracy.result import COMPILED, FLOAT, SOURCE, Result
from furiosa.runtime.accuracy.scorer import Scorer
from furiosa.runtime.errors import InvalidInput
from furiosa.runtime.model import find
from furiosa.runtime.samples import Preprocessing, Sample, Samples, open_samples
from furiosa.runtime.session import Session


class Question(NamedTuple):
    """What is asked of a model; see ``furiosa accuracy -h``.

    ``metric`` is a key of METRICS, or None for ``scorer``, a program.  ``shard`` is (index, count): every count-th sample from
    ``index`` on.  ``limit``: of all samples the first.
    """

    data: Sequence[str]
    metric: str | None = "top1"
    scorer: str | None = None
    float_model: str | None = None
    source: str | None = None
    output: str | None = None
    preprocessing: Preprocessing | None = None
    min_value: float | None = None
    max_drop: float | None = None
    shard: tuple[int, int] | None = None
    limit: int | None = None
    model_data: Sequence[str] = ()
    is_hermetic: bool = False


def evaluate(session: Session, question: Question) -> Result:
    """Measures a compiled model, and beside it the models that the question names.

    Raises:
        InvalidInput: data that do not fit, a metric that they are not for, or a question that cannot be.
        CompilationFailed, IncompatibleModel, ModelDeployFailed, ModelExecutionFailed: a model cannot be run.
        ScorerFailed: the user's scorer fails.
        OSError: a file cannot be read.
    """
    _check(question)
    program = Program(session)
    models: dict[str, Measured] = {COMPILED: program}
    paths = {COMPILED: session.name}
    for what, path in ((SOURCE, question.source), (FLOAT, question.float_model)):
        if path is not None:
            progress.now(f"loading {path} into its reference runtime")
            models[what] = ReferenceModel(path, program, question.model_data, question.is_hermetic)
            paths[what] = os.path.basename(path)
    inputs = models.get(FLOAT, program).inputs
    for what, model in models.items():
        check_feeds(inputs, model, paths[what])
    kind = METRICS.get(question.metric or "")
    samples = open_samples(
        question.data,
        inputs,
        preprocessing=question.preprocessing,
        is_finite=True,
        with_labels=kind is not None and kind.needs_labels,
    )
    part = _part(samples, question)
    result = Result(
        model=session.name,
        metric=question.metric or "scorer",
        what=kind.what if kind else f"the score of {os.path.basename(question.scorer)}",
        samples=len(part),
        shard=question.shard,
        min_value=question.min_value,
        max_drop=question.max_drop,
        models=paths,
    )
    with ExitStack() as stack:
        judged = [m for m in models if m != FLOAT or kind is None or not kind.needs_float]
        chosen = _chosen(program, question)
        if kind is None:
            folder = stack.enter_context(temporary_folder(os.path.join(gettempdir(), "furiosa-predictions")))
            names = [program.outputs[i].name for i in chosen]
            metrics: dict[str, Metric] = {
                m: Scorer(question.scorer, os.path.join(folder, m), names, len(part)) for m in judged
            }
        else:
            metrics = {m: kind.make() for m in judged}
        _measure(models, metrics, samples, part, program.batch_size, chosen)
        for model, metric in metrics.items():
            progress.now(f"scoring {paths[model]}")
            result.values[model] = metric.value()
    return result


def _check(question: Question) -> None:
    kind = METRICS.get(question.metric or "")
    if kind and kind.needs_float and question.float_model is None:
        raise InvalidInput(
            f"metric {question.metric} compares with the float model: name it by --float-model"
        )
    if kind and kind.needs_float and question.max_drop is not None:
        raise InvalidInput(
            f"metric {question.metric} is a comparison with the float model already: it has no drop, use --min"
        )
    if question.max_drop is not None and question.float_model is None and question.source is None:
        raise InvalidInput("a drop is counted from another model: name it by --float-model or --source")


def _part(samples: Samples, question: Question) -> range:
    """The numbers of the samples that are asked for.

    Raises:
        InvalidInput: the shard has none.
    """
    stop = min(samples.count, question.limit or samples.count)
    index, count = question.shard or (0, 1)
    part = range(index, stop, count)
    if not part:
        raise InvalidInput(
            f"shard {index + 1} of {count} has no sample, as there are {stop}: use fewer shards"
        )
    return part


def _chosen(program: Program, question: Question) -> list[int]:
    """The outputs that the metric sees, by their numbers."""
    if question.output is None:
        return list(range(len(program.outputs)))
    return [program.outputs.index(find(program.outputs, question.output))]


def _measure(
    models: Mapping[str, Measured],
    metrics: Mapping[str, Metric],
    samples: Samples,
    part: range,
    batch_size: int,
    chosen: Sequence[int],
) -> None:
    progress.now(f"measuring, {len(part)} samples")
    done, begun = 0, time.monotonic()
    for batch in _batches(samples.read(part.start, part.stop, part.step), batch_size):
        found = {
            name: [[outputs[i] for i in chosen] for outputs in _run(model, batch)]
            for name, model in models.items()
        }
        for k, sample in enumerate(batch):
            wanted = found[FLOAT][k] if FLOAT in found else []
            for name, metric in metrics.items():
                try:
                    metric.add(found[name][k], sample.label, wanted)
                except InvalidInput as e:
                    raise InvalidInput(f"{sample.name}: {e.message}") from None
        done += len(batch)
        left = (time.monotonic() - begun) * (len(part) - done) / done
        progress.now(f"measuring, {done} of {len(part)} samples done, some {left:.0f} s left")


def _run(model: Measured, batch: Sequence[Sample]) -> list[Arrays]:
    return model.run([fed(sample.arrays, model) for sample in batch])


def _batches(samples: Iterator[Sample], size: int) -> Iterator[list[Sample]]:
    while batch := list(itertools.islice(samples, size)):
        yield batch
