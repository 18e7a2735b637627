"""`python -m classifier.sources`: say where a download.path that is not there should lead.

DVC looks at a stage's dependencies before it runs the stage, and says only that there is no such
file. `make repro` runs this after a failure, to say the rest.
"""

import sys

from classifier.core.errors import UserError
from classifier.core.params import load
from classifier.sources.download import DownloadParams, check_path

if __name__ == "__main__":
    try:
        params = load("download", DownloadParams)
    except UserError:
        sys.exit(1)  # said already, by the stage or by DVC
    try:
        check_path(params)
    except UserError as error:
        sys.exit(f"error: {error}")
