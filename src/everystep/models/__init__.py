"""Keras's models on NumPy and everystep's engine."""

from everystep.models.model import Model
from everystep.models.sequential import Sequential
from everystep.models.stream import Stream

__all__ = ["Model", "Sequential", "Stream"]
