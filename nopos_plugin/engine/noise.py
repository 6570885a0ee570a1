"""Warnings about fairseq's own use of other packages, of which a user can do nothing."""

import functools
import warnings

from fairseq.dataclass import utils

HYDRA = (
    r"hydra\.experimental\.(initialize|compose)\(\) is no longer experimental",
    r"\nThe version_base parameter is not specified",
    r"In '.*': Usage of deprecated keyword in package header",
    r"\n'config' is validated against ConfigStore schema with the same name",
    r"\nThe strict flag in the compose API is deprecated",
)


def silence_deprecations():
    """Deprecations at every start, of hydra >= 1.1 (fixed) and torch >= 2.4 (both).

    hydra's are silent while fairseq composes a config of flags, torch's where fairseq causes it.
    """
    # hydra looks for config_path beside its caller's caller
    utils.initialize = _quiet(functools.partial(utils.initialize, caller_stack_depth=2))
    utils.compose = _quiet(utils.compose)
    warnings.filterwarnings(
        "ignore",
        r"`torch\.cuda\.amp\.autocast\(args\.\.\.\)` is deprecated",
        FutureWarning,
        r"fairseq\.tasks\.fairseq_task$",
    )


def _quiet(function):
    """`function` without the warnings HYDRA."""

    def quiet(*args, **kwargs):
        with warnings.catch_warnings():
            for message in HYDRA:
                warnings.filterwarnings("ignore", message, UserWarning)
            return function(*args, **kwargs)

    return quiet
