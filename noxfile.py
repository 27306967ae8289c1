"""The tests against the oldest and the newest of what everystep builds on, and without Keras: `nox -s oldest`.

`make test` runs them on the versions in requirements/. Here the package is built and installed as a user would.
"""

import nox

nox.options.sessions = ["oldest", "newest", "without_keras", "lint"]
TOOLS = ["pytest", "pytest-xdist", "hypothesis", "matplotlib", "tqdm", "ipykernel", "nbclient", "nbformat"]


@nox.session
def oldest(session: nox.Session) -> None:
    """The lower bounds in pyproject.toml."""
    session.install("-e", ".", "keras==3.10.0", "jax==0.7.2", "jaxlib==0.7.2", "h5py==3.10.0", *TOOLS)
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def newest(session: nox.Session) -> None:
    """The newest releases."""
    session.install("-e", ".[keras]", "--upgrade", *TOOLS)
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def without_keras(session: nox.Session) -> None:
    """The half that runs models, with nothing but NumPy and h5py, at their lower bounds."""
    session.install(".", "numpy==1.26.0", "h5py==3.10.0", "pytest", "hypothesis")
    session.run("pytest", "--ignore=tests/keras", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """What `make lint` checks."""
    session.run("make", "lint", external=True)
