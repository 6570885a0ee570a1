"""What encodings and kernels cost: attention alone, and whole updates of a training."""
