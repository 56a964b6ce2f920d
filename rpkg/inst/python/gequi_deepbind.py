"""Makes torch use its own BLAS in a process of R.

R has loaded its BLAS already, and on Linux a library's symbols are found there before they are found in the libraries
that it comes with: torch's matrix product would be R's, some ten times slower with the reference BLAS of a plain R.
RTLD_DEEPBIND has a library look into its own first. This module needs nothing but Python's standard library: it is
imported as soon as Python runs, before torch is, whoever imports that.
"""

import os
import sys
from importlib.abc import Loader, MetaPathFinder


class _DeepBindLoader(Loader):
    """Loads a module as another loader does, with RTLD_DEEPBIND."""

    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        before = sys.getdlopenflags()
        sys.setdlopenflags(before | os.RTLD_DEEPBIND)
        try:
            self.loader.exec_module(module)
        finally:
            sys.setdlopenflags(before)


class _DeepBindFinder(MetaPathFinder):
    """Finds torch where the other finders do."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _DeepBindLoader(spec.loader)
                return spec
        return None


if hasattr(os, "RTLD_DEEPBIND") and "torch" not in sys.modules:
    sys.meta_path.insert(0, _DeepBindFinder())
