"""How long a step of a stream takes: LSTM(64) and Dense(1) on 32 inputs, from a file, batch 1, a new input each time.

    python benchmarks/step.py [--peer PYTHON]

Prints the 50th, 99th and 99.9th percentile of single steps, and the mean of whole loops of 1,000 steps, free of the
clock's own time: with and without `out`, at step 10 and after 100,000. Beside them stands what the kernels take of it:
the same calls on the same arrays, round after round inside the native module; the rest is what a call from Python
costs. With `--peer`, the interpreter of an environment that has onnx and onnxruntime, ONNX Runtime makes the same
steps, of the same weights, in a process of its own; the two take turns, and their first outputs are compared.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

I, H, LOOP, ROUNDS = 32, 64, 1_000, 30
SINGLE = 100_000
KERNELS = "the kernels alone"


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {"kernel": (I, 4 * H), "recurrent": (H, 4 * H), "bias": (4 * H,), "dense": (H, 1), "dense_bias": (1,)}
    return {name: rng.normal(size=shape, scale=0.1).astype("float32") for name, shape in shapes.items()}


def inputs() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(LOOP, 1, I)).astype("float32")


def loop(step: Callable[[Any], Any], x: Any) -> float:
    """Seconds a step, of one loop."""
    start = time.perf_counter_ns()
    for x_t in x:
        step(x_t)
    return (time.perf_counter_ns() - start) * 1e-9 / len(x)


def single(step: Callable[[Any], Any], x: Any, count: int) -> np.ndarray:
    """Seconds of each step."""
    taken = np.empty(count)
    for k in range(count):
        start = time.perf_counter_ns()
        step(x[k % LOOP])
        taken[k] = time.perf_counter_ns() - start
    return taken * 1e-9


# ---- ours ----


def opened() -> Any:
    from everystep import Input, Model, load_model
    from everystep.layers import LSTM, Dense

    x = Input((None, I))
    model = Model(x, Dense(1)(LSTM(H)(x)))
    model.set_weights(list(weights().values()))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        return load_model(path).stream()


# ---- The peer ----


def onnx_step() -> Callable[[Any], Any]:
    """ONNX's gates are i, o, f, c; a step is one run of a session on one time step, whose states go round."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    w = weights()

    def gates(matrix: np.ndarray) -> np.ndarray:
        i, f, g, o = np.split(matrix, 4, axis=-1)
        return np.concatenate([i, o, f, g], axis=-1)

    bias = gates(w["bias"])
    held = {
        "W": gates(w["kernel"]).T[None],
        "R": gates(w["recurrent"]).T[None],
        "B": np.concatenate([bias, np.zeros_like(bias)])[None],
        "D": w["dense"],
        "d": w["dense_bias"],
        "axes": np.array([0]),
    }
    number = TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("LSTM", ["x", "W", "R", "B", "", "h", "c"], ["", "h_1", "c_1"], hidden_size=H),
            helper.make_node("Squeeze", ["h_1", "axes"], ["last"]),
            helper.make_node("Gemm", ["last", "D", "d"], ["y"]),
        ],
        "step",
        [
            helper.make_tensor_value_info(name, number, shape)
            for name, shape in (("x", (1, 1, I)), ("h", (1, 1, H)), ("c", (1, 1, H)))
        ],
        [
            helper.make_tensor_value_info(name, number, shape)
            for name, shape in (("y", (1, 1)), ("h_1", (1, 1, H)), ("c_1", (1, 1, H)))
        ],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # what is fastest for so little work
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    states = [np.zeros((1, 1, H), "float32")] * 2

    def step(x_t: np.ndarray) -> np.ndarray:
        y: np.ndarray
        y, *states[:] = session.run(None, {"x": x_t[None], "h": states[0], "c": states[1]})
        return y

    return step


def serve() -> None:
    """Answers each line with a loop's seconds a step, after the first outputs."""
    step, x = onnx_step(), list(inputs())
    print(json.dumps([float(step(x_t)[0, 0]) for x_t in x[:5]]), flush=True)
    for line in sys.stdin:
        print(json.dumps(single(step, x, SINGLE // 10).tolist() if line == "single\n" else loop(step, x)), flush=True)


# ---- The table ----


def row(name: str, loops: list[float], singles: Any = ()) -> None:
    p = [f"{v * 1e6:7.2f}" for v in np.percentile(singles, [50, 99, 99.9])] if len(singles) else []
    print(f"{name:34}{min(loops) * 1e6:9.2f}{np.median(loops) * 1e6:9.2f}   {'  '.join(p)}".rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="an interpreter with onnx and onnxruntime")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve()
    x, stream = list(inputs()), opened()
    out = np.empty((1, 1), "float32")
    first = [float(stream.step(x_t)[0, 0]) for x_t in x[:5]]
    calls: dict[str, Callable[[Any], Any]] = {
        "step(x_t)": stream.step,
        "step(x_t, out=y)": lambda x_t, step=stream.step: step(x_t, out=out),
    }
    peer = None
    if arguments.peer:
        command = [arguments.peer, __file__, "--serve"]
        peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        np.testing.assert_allclose(json.loads(peer.stdout.readline()), first, rtol=1e-4, atol=1e-5)

    def asked(what: str) -> Any:
        print(what, file=peer.stdin, flush=True)
        return json.loads(peer.stdout.readline())

    loops: dict[str, list[float]] = {name: [] for name in [KERNELS, *calls, "ONNX Runtime"]}
    for _ in range(ROUNDS):
        loops[KERNELS].append(stream._program.timed(LOOP) / LOOP)
        for name, call in calls.items():
            loops[name].append(loop(call, x))
        if peer:
            loops["ONNX Runtime"].append(asked("loop"))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs; microseconds a step")
    print(f"{'':34}{'loop min':>9}{'median':>9}   {'p50':>7}  {'p99':>7}  {'p99.9':>7}")
    row(KERNELS, loops[KERNELS])
    for name, call in calls.items():
        row(name, loops[name], single(call, x, SINGLE))
    if peer:
        row("ONNX Runtime", loops["ONNX Runtime"], asked("single"))
        for name in calls:
            ratio = np.median(np.divide(loops["ONNX Runtime"], loops[name]))
            print(f"ONNX Runtime / {name}, median of {ROUNDS} pairs of loops: {ratio:.2f}")
        peer.stdin.close()
        peer.wait()
    for name in calls:
        cost = np.median(np.subtract(loops[name], loops[KERNELS])) * 1e6
        print(f"{name} - its kernels, median of {ROUNDS} pairs of loops: {cost:.2f}")
    old, new = opened(), opened()
    for k in range(100_000):
        old.step(x[k % LOOP])
    pairs = []
    for _ in range(ROUNDS):
        new.reset()
        loop(new.step, x[:10])
        pairs.append((loop(old.step, x), loop(new.step, x)))
    ratio = np.median([a / b for a, b in pairs])
    print(f"a loop after step 100,000 / one after step 10, median of {ROUNDS} pairs: {ratio:.3f}")


if __name__ == "__main__":
    main()
