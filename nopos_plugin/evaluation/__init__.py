"""What a perplexity means: windows, scores, results. Torch and the standard library only."""
