"""The runtime: an ENF in, tensors out.

``session`` runs a model, ``tensor`` and ``errors`` hold what it hands out and raises, ``bundle`` opens archives of
models, ``profiler`` records what inferences take.  There is no driver for real hardware: the only device is the NPU simulator, which runs the commands of
the file.
"""
