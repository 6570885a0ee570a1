"""From text to data-bins: what is read, chosen, shuffled, tokenized and written."""
