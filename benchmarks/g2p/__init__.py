"""Grapheme to phoneme on CMUdict, after Yao and Zweig 2015 (arXiv 1506.00196): `make g2p`.

A word's letters are read by one recurrent network, its phonemes written by another that starts from the first one's
final states. `__main__.py` is the command; `words.py`, `batches.py` and `scores.py` need NumPy only.
"""
