"""Which batch size is best: the search of ``--auto-batch-size`` and the sweep of ``furiosa tune``."""
