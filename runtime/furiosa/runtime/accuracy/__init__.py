"""How good a compiled model is on data: ``furiosa accuracy`` and the rule ``npu_accuracy_test`` (docs/measure.md)."""
