"""One of two processes that train together: python -m rank NUMBER STORE TRAININGS DATA.

TRAININGS: JSON, the arguments of each `command.train` but the data, one training after the other.
"""

import json
import sys

import torch
from command import joined, train

import nopos_plugin  # noqa: F401  (registers everything)

if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, store, trainings, data = sys.argv[1:]
    for arguments in json.loads(trainings):
        train(data, *arguments, *joined(rank, store))
