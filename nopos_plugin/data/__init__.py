"""Datasets: what a forward gets, made from a data-bin by indices alone."""
