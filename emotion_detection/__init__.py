__version__ = "0.1.0"

import os

# before onnxruntime is imported anywhere: it would report its use to its makers
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# before PyTorch is imported anywhere: between two products its threads watch for the next one, a few microseconds in place of
# milliseconds. Alone that costs nothing; two trainings side by side no longer take each other's time, see the benchmark page
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
