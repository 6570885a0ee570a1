"""From text to data-bins: read, chosen, shuffled, tokenized, written. No model in sight."""
