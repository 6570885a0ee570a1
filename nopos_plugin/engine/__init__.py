"""Repairs of the installed fairseq, each with its reason and a test.

None does anything where it is not needed. 0.12.2 is the last release of fairseq, fixed is
fairseq-fixed 0.12.3.1.
"""

import functools

from nopos_plugin.engine import configuration, datasets, optimizer, scoring


@functools.cache
def repair():
    """Apply all of them, once a process."""
    configuration.refuse_what_hydra_changes()
    configuration.forget_finished_training()
    datasets.restore_numpy_compat()
    datasets.keep_last_batch()
    datasets.name_missing_dictionary()
    datasets.explain_splits()
    scoring.score_every_token()
    scoring.refuse_long_prompts()
    optimizer.keep_out_of_weight_decay()
