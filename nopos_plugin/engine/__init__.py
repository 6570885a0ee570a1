"""Repairs of the installed fairseq, each with its reason and a test.

None does anything where it is not needed. 0.12.2 is the last release of fairseq, fixed is
fairseq-fixed 0.12.3.1.
"""

import functools

from nopos_plugin.engine import (
    checkpoints,
    configuration,
    datasets,
    divergence,
    noise,
    optimizer,
    precision,
    processes,
    scoring,
    tensorboard,
    termination,
)


@functools.cache
def repair():
    """Apply all of them, once a process."""
    configuration.refuse_what_hydra_changes()
    configuration.forget_finished_training()
    datasets.restore_numpy_compat()
    datasets.keep_last_batch()
    datasets.batch_alike_after_resuming()
    datasets.name_missing_dictionary()
    datasets.explain_splits()
    scoring.score_every_token()
    scoring.refuse_long_prompts()
    precision.explain_flattened_fp16()
    optimizer.keep_out_of_weight_decay()
    precision.train_in_bfloat16_without_tpu()
    precision.refuse_memory_efficiency_alone()
    precision.reduce_gradients_by_dtype()
    precision.resume_in_float32()
    precision.sum_adaptive_losses_in_float32()
    processes.count_processes_without_gpus()
    processes.join_processes_without_gpus()
    processes.refuse_lone_trainings()
    processes.refuse_full_sharding()
    checkpoints.read_with_care()
    checkpoints.write_whole()
    checkpoints.broadcast_any_object()
    checkpoints.never_start_over()
    checkpoints.end_at_max_update()
    termination.save_when_terminated()
    termination.spare_data_loaders()
    divergence.explain_nan()
    tensorboard.show_what_is_learned()
    noise.silence_deprecations()
