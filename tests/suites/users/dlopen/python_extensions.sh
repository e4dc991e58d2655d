# python3 imports every extension module of its standard library, then loads one again after forgetting it.
#: needs: python3
#: expect: imported _ssl
/usr/bin/python3 - <<'PYTHON'
import importlib, pathlib, sys, sysconfig
folder = pathlib.Path(sysconfig.get_path("stdlib")) / "lib-dynload"
names = sorted(file.name.split(".")[0] for file in folder.glob("*.so"))
assert len(names) > 20, names
for name in names + sorted(sys.builtin_module_names):
    try:
        module = importlib.import_module(name)
        print("imported", name, len(dir(module)) > 3)
    except ImportError as error:
        print("refused", name, error)
del sys.modules["_json"]
print(importlib.import_module("_json").encode_basestring("\u00e9"))
PYTHON
