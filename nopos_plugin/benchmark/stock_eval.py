"""fairseq-eval-lm as it is, with the time of its loop: run this file by its path, in a process.

Its last line is {"seconds", "bits_per_token", "tokens"}. Nothing of the plugin may be imported
here, for that repairs fairseq.
"""

import json
import sys
import time

del sys.path[0]  # this folder, whose files are not what others mean by their names

from fairseq.sequence_scorer import SequenceScorer  # noqa: E402
from fairseq_cli import eval_lm as command  # noqa: E402
from torch.fx.experimental import symbolic_shapes  # noqa: E402, F401  (else within the loop)

found = {"tokens": 0}
score, loop = SequenceScorer.generate, command.eval_lm


def counted(self, models, sample, **kwargs):
    hypotheses = score(self, models, sample, **kwargs)
    found["tokens"] += sum(len(best["positional_scores"]) for best, *_ in hypotheses)
    return hypotheses


def timed(*args, **kwargs):
    start = time.monotonic()
    outcome = loop(*args, **kwargs)
    found["seconds"] = time.monotonic() - start
    found["bits_per_token"] = float(outcome["loss"])
    return outcome


if __name__ == "__main__":
    SequenceScorer.generate, command.eval_lm = counted, timed
    command.cli_main()
    print(json.dumps(found), flush=True)
