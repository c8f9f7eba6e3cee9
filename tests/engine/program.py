"""One run of a Pulumi program for the engine: started by `language.py`, in the environment of the project.

It does what Pulumi's own executor does, and keeps to its exit codes.
"""

import asyncio
import gc
import json
import logging
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pulumi
from pulumi import runtime

FAILED, REPORTED = 1, 32


def main(program: str, settings: dict[str, Any]) -> int:
    runtime.set_all_config(runtime.get_config_env(), runtime.get_config_secret_keys_env())
    runtime.configure(runtime.Settings(**settings))
    # What is left of a failed run would be complained of a second time.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with ThreadPoolExecutor(4 * max(settings["parallel"], 1)) as executor:
        loop.set_default_executor(executor)
        try:
            loop.run_until_complete(runtime.run_in_stack(lambda: start(program)))
        except pulumi.RunError as error:
            pulumi.log.error(str(error))
            return FAILED
        except Exception:  # of any kind: it is the program's
            pulumi.log.error(f"Program failed with an unhandled exception:\n{traceback.format_exc()}")
            return REPORTED
    return 0


def start(program: str) -> None:
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    # A short life with many objects, of which few are ever garbage.
    gc.disable()
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
