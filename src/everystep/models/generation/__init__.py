"""A model that feeds itself: tokens chosen from an output become the next step of an input.

`generate` is what `Model.generate` does:

    feedback.py   which input is fed by which output; scales.py, what the numbers of that output are
    options.py    how to generate, checked; static.py, the inputs that are given whole
    decoder.py    the stream that is stepped by tokens; prompts.py, what it reads before the first
    spares.py     streams that are kept for the next call
    greedy.py     one token for each row at each step, sample.py draws it
    beam.py       several hypotheses for each row

B batch, V vocabulary, W beam width, L length of what is made.
"""

from everystep.models.generation.generate import generate

__all__ = ["generate"]
