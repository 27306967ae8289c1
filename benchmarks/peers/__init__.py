"""One module for each library that is timed.

Each has `versions()`, the packages that matter and their versions, and `prepare(problem, gradients)`, which returns
two functions: one that makes a call and waits until its results are there, and one that turns these results into NumPy
arrays in Keras's layout: h (B,T,H), and with gradients also the others of `Problem.names`, in that order. A library
that can be called in several ways has them in `MODES`, by name, and its `prepare` takes one of them as `mode`.

It uses as many threads as its process has CPUs.
"""
