"""Runs scripts of this folder one after the other in one process, so that the peers are imported once.

A request is a line of JSON on stdin, [SCRIPT, ARGUMENT, …]. What the script prints passes through to stdout; then
comes a line `DONE`, with the traceback as a JSON string where it failed.
"""

import gc
import json
import pathlib
import runpy
import sys
import traceback

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here))

for line in sys.stdin:
    sys.argv = json.loads(line)
    failure = ""
    try:
        runpy.run_path(str(here / sys.argv[0]), run_name="__main__")
    except (Exception, SystemExit):
        failure = traceback.format_exc(limit=-6)
    gc.collect()
    print("DONE " + json.dumps(failure), flush=True)
