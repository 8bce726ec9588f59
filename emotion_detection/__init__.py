__version__ = "0.1.0"

import os

# before onnxruntime is imported anywhere: it would report its use to its makers
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# before PyTorch is imported anywhere: how often its threads look for the next product before they sleep, 300,000 times otherwise.
# Two trainings side by side then take each other's time; the benchmark page measures both settings
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
