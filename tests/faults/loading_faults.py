"""Faults of what keeps loading safe, and of layers that are registered."""

from __future__ import annotations

from fault import Fault

VULNERABILITIES = ("tests/saved/test_saved_vulnerabilities.py",)
HOSTILE = ("tests/saved/test_saved_keras_archive_hostile.py",)
REGISTER = ("tests/saved/test_saved_register.py",)

LOADING_FAULTS = [
    Fault(
        "weights whose data lies in another file are read",
        "src/everystep/saved/safe_hdf5.py",
        "if made.get_external_count():",
        "if made.get_external_count() > 1:",
        VULNERABILITIES,
    ),
    Fault(
        "a config's objects are not looked up",
        "src/everystep/saved/known_objects.py",
        "        _check(config)\n",
        "        pass\n",
        VULNERABILITIES,
    ),
    Fault(
        "a member of the zip may be as large as it likes",
        "src/everystep/saved/safe_zip.py",
        "if size > FLOOR and size > EXPANSION * info.compress_size:",
        "if size > FLOOR and size < EXPANSION * info.compress_size:",
        HOSTILE,
    ),
    Fault(
        "a registered class takes the place of another",
        "src/everystep/layers/registered.py",
        "if _CLASSES.get(name, cls) is not cls:",
        "if _CLASSES.get(name, cls) is None:",
        REGISTER,
    ),
    Fault(
        "a registered layer is saved under the name of its Python class alone",
        "src/everystep/layers/registered.py",
        'return read or {"module": cls.__module__, "registered_name": _NAMES[cls]}',
        'return {"module": cls.__module__, "registered_name": cls.__name__}',
        REGISTER,
    ),
    Fault(
        "the plain name of a class goes before that with its package",
        "src/everystep/layers/registered.py",
        'names = entry.get("registered_name"), entry.get("class_name")',
        'names = entry.get("class_name"), entry.get("registered_name")',
        REGISTER,
    ),
]
