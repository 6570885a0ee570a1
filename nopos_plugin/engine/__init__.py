"""Repairs of the installed fairseq, each with its reason and a test.

None does anything where it is not needed. 0.12.2 is the last release of fairseq, fixed is
fairseq-fixed 0.12.3.1.
"""

import functools

from nopos_plugin.engine import (
    checkpoints,
    datasets,
    divergence,
    noise,
    optimizer,
    scoring,
    tensorboard,
    termination,
)


@functools.cache
def repair():
    """Apply all of them, once a process."""
    datasets.restore_numpy_compat()
    datasets.keep_last_batch()
    datasets.batch_alike_after_resuming()
    datasets.name_missing_dictionary()
    datasets.explain_splits()
    scoring.score_every_token()
    scoring.refuse_long_prompts()
    optimizer.keep_out_of_weight_decay()
    checkpoints.read_with_care()
    checkpoints.write_whole()
    checkpoints.broadcast_any_object()
    checkpoints.never_start_over()
    checkpoints.end_at_max_update()
    termination.save_when_terminated()
    termination.spare_data_loaders()
    divergence.explain_nan()
    tensorboard.show_what_is_learned()
    tensorboard.separate_runs()
    noise.silence_deprecations()
