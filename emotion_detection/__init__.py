__version__ = "0.1.0"

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is imported anywhere: it would report its use to its makers
