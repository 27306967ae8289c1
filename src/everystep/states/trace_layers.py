"""One layer's part of a trace, or one attention's: names for its arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from everystep import cells
from everystep.errors import OptionError
from everystep.models.recording import Arrays
from everystep.models.sites import Site

if TYPE_CHECKING:
    from everystep.states.trace import Trace

Array = np.ndarray[Any, Any]


class LayerTrace:
    """What one recurrent layer did in one call, or one of its cells. R rows, T steps, G gates, H units.

    Attributes:
        name: in the trace.
        kind: "LSTM", "GRU", "SimpleRNN", or the class of a cell.
        units: H.
        activation: of the candidate, and of h: for an LSTM h = o * activation(c).
        backwards: whether the last step was taken first. Arrays are in the order of time all the same.
        within: whether a row is one step of a row of x, inside TimeDistributed: step t of row b is row b * steps + t.
    """

    def __init__(self, trace: Trace, site: Site) -> None:
        self._trace, self._site = trace, site
        self.name, self.kind, self.units = site.name, site.kind, site.units
        self.activation, self.backwards, self.within = site.activation, site.backwards, site.within
        spec = cells.CELLS[site.cell]
        self.gate_names = dict(zip(spec.gates, spec.gate_names, strict=True))
        self.state_names = dict(zip(spec.states, spec.state_names, strict=True))

    def arrays(self, gates: bool = True) -> Arrays:
        """All arrays by what they are."""
        return self._trace.arrays(self.name, gates)

    @property
    def h(self) -> Array:
        """The hidden state after each step, (R,T,H): at a masked step the carried one, whatever the layer outputs."""
        return self.arrays(gates=False)["h"]

    @property
    def c(self) -> Array:
        """The cell state of an LSTM after each step, (R,T,H); at a masked step the carried one."""
        return self.state("c")

    @property
    def gates(self) -> Array:
        """Every gate after its activation, (R,T,G,H), in the order of `gate_names`; 0 at masked steps."""
        return self.arrays()["gates"]

    @property
    def mask(self) -> Array:
        """Which steps were taken, (R,T) bool; all, where the layer saw no mask."""
        return self.arrays(gates=False)["mask"]

    @property
    def resets(self) -> Array | None:
        """Before which steps a row went back to its initial state, (R,T) bool; None where the layer was given none."""
        return self.arrays(gates=False).get("resets")

    def state(self, letter: str) -> Array:
        """A state after each step, (R,T,H), "h" or "c"."""
        self._check(letter, self.state_names, "state")
        return self.arrays(gates=False)[letter]

    def gate(self, letter: str) -> Array:
        """One gate at each step, (R,T,H)."""
        self._check(letter, self.gate_names, "gate")
        return self.gates[:, :, list(self.gate_names).index(letter)]

    def initial(self, letter: str) -> Array:
        """A state before the first step that was taken, (R,H)."""
        self._check(letter, self.state_names, "state")
        return self.arrays(gates=False)[f"initial_{letter}"]

    def before(self, letter: str) -> Array:
        """A state before each step, (R,T,H), as the step's equation reads it: after a reset the initial one."""
        after, first = self.state(letter), self.initial(letter)[:, None]
        if self.backwards:
            found = np.concatenate([after[:, 1:], first], axis=1) if after.shape[1] else after
        else:
            found = np.concatenate([first, after[:, :-1]], axis=1) if after.shape[1] else after
        return found if self.resets is None else np.where(self.resets[..., None], first, found)

    def _check(self, letter: str, known: dict[str, str], what: str) -> None:
        if letter not in known:
            its = ", ".join(f"{each!r} ({words})" for each, words in known.items())
            raise OptionError(f"layer {self.name!r}, of kind {self.kind}, has no {what} {letter!r}; it has {its}")

    def __repr__(self) -> str:
        way = ", backwards" if self.backwards else ""
        return f"<{self.name!r} in a {self._trace.title}: {self.kind}, {self.units} units{way}>"


class AttentionTrace:
    """The weights of one call of an attention layer. R rows, T steps of the query, S of the key, N heads.

    Attributes:
        name: in the trace.
        kind: "Attention", "AdditiveAttention" or "MultiHeadAttention".
        heads: N.
    """

    def __init__(self, trace: Trace, site: Site) -> None:
        self._trace = trace
        self.name, self.kind, self.heads, self.within = site.name, site.kind, site.units, site.within

    def arrays(self) -> Arrays:
        """All arrays by what they are."""
        return self._trace.arrays(self.name)

    @property
    def weights(self) -> Array:
        """What share each step of the key has in each step of the query, (R,T,S,N); along S they add up to 1."""
        return self.arrays()["weights"]

    def __repr__(self) -> str:
        return f"<{self.name!r} in a {self._trace.title}: {self.kind}>"
