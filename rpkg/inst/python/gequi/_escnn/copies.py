"""Private copies of those modules of escnn that gequi changes. escnn itself is not modified for other programs.

A copy runs the code of a module again under the name `gequi._escnn.own.<...>`, with its own import statement. This
statement returns the copy of a module that is copied, and escnn's own module otherwise. gequi's groups, gspaces, field
types and geometric tensors are therefore escnn's, so they can be passed to escnn's layers. The kernels, and the layers
that contain them, are copies. A copy uses the bytecode of escnn's module, so it takes little time.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

_ORIGINAL = "escnn"
_OWN = f"{__package__}.own"
_LAYERS = f"{_ORIGINAL}.nn.modules"

# What is copied: packages with all their modules, packages without their modules, and modules.
_WHOLE = (f"{_ORIGINAL}.kernels", f"{_LAYERS}.conv")
_PARTS = {
    _ORIGINAL, f"{_ORIGINAL}.nn", _LAYERS, f"{_LAYERS}.linear",
    *(f"{_LAYERS}.basismanager{name}" for name in ("", ".basisexpansion_blocks", ".basisexpansion_singleblock")),
    *(f"{_LAYERS}.batchnormalization{name}" for name in ("", ".gnorm", ".iid", ".inner", ".norm")),
    *(f"{_LAYERS}.dropout{name}" for name in ("", ".field")),
    *(f"{_LAYERS}.invariantmaps{name}" for name in ("", ".gpool", ".norm")),
    *(f"{_LAYERS}.nonlinearities{name}" for name in ("", ".gated1", ".gated2", ".norm")),
}  # fmt: skip


def own(name: str) -> Any:
    """Return gequi's copy of a module of escnn, by its name within escnn; "" is the package itself."""
    return _module(f"{_ORIGINAL}.{name}" if name else _ORIGINAL)


def _is_copied(name: str) -> bool:
    return name in _PARTS or any(name == whole or name.startswith(f"{whole}.") for whole in _WHOLE)


def _module(name: str) -> types.ModuleType:
    """Return the module with this name in escnn: the copy if there is one."""
    if not _is_copied(name):
        return importlib.import_module(name)
    copied = _OWN + name.removeprefix(_ORIGINAL)
    if copied in sys.modules:
        return sys.modules[copied]
    parent, _, last = name.rpartition(".")
    above = _module(parent) if parent else sys.modules[__package__]
    if copied in sys.modules:  # the module above has imported it
        return sys.modules[copied]
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = types.ModuleType(copied)
    is_package = spec.submodule_search_locations is not None
    module.__package__ = copied if is_package else copied.rpartition(".")[0]
    if is_package:
        module.__path__ = []
    module.__file__ = spec.origin
    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import, "print": _no_print}
    sys.modules[copied] = module
    exec(spec.loader.get_code(name), module.__dict__)  # type: ignore[attr-defined]
    setattr(above, last or "own", module)
    return module


def _no_print(*values: Any, **options: Any) -> None:
    """`print` for the copies, which are called by gequi only."""


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> types.ModuleType:
    """`__import__` for the copies."""
    if level:
        package = str((globals or {})["__package__"])
        name = importlib.util.resolve_name("." * level + name, _ORIGINAL + package.removeprefix(_OWN))
    if name.partition(".")[0] != _ORIGINAL:
        return builtins.__import__(name, globals, locals, fromlist or ())
    module = _module(name)
    if not fromlist:
        return _module(_ORIGINAL)
    for each in fromlist:
        if each != "*" and not hasattr(module, each):
            setattr(module, each, _module(f"{name}.{each}"))
    return module
