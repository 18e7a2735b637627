"""`python -m benchmarks [NAME …]`: run the measurements, those that need no data set by default.

`ladder` and `transfer` need images: run them by themselves, as their files say.
"""

import importlib
import sys

ALONE = ("augmentation", "inference", "serving")

for name in sys.argv[1:] or ALONE:
    print(f"benchmarks.{name}", flush=True)
    importlib.import_module(f"benchmarks.{name}").main()
