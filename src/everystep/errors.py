"""One class for each way things fail, so that a caller can catch exactly what it can mend.

Every message says what was expected, what came, where, and what to do about it.
"""


class EverystepError(Exception):
    """The base of every error that everystep raises on purpose."""


class ShapeError(EverystepError, ValueError):
    """An array has the wrong shape."""


class DtypeError(EverystepError, TypeError):
    """An array has the wrong dtype, or a memory layout that the engine does not read."""


class OptionError(EverystepError, ValueError):
    """An argument has a value that it cannot take, or two arguments contradict each other."""


class UnsupportedError(EverystepError, NotImplementedError):
    """Something that exists in Keras, or might well exist, and that everystep does not do."""


class GraphError(EverystepError, ValueError):
    """A model's tensors do not form a graph from its inputs to its outputs."""


class FileError(EverystepError, ValueError):
    """A file is damaged, is not what it should be, or holds what a model's file has no business to hold."""


class DifferentiationError(EverystepError, NotImplementedError):
    """A derivative that the engine does not compute, such as a second one."""


class DependencyError(EverystepError, ImportError):
    """A package that everystep builds on is not installed, or is too old."""
