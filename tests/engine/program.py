"""One run of a Pulumi program, or of a policy pack, in a process of its own: `language.py` starts it.

The process is forked from one that has only loaded Pulumi's packages, which takes seconds; the program itself
is loaded anew each time. A program is run as Pulumi's own executor runs it, down to the exit codes.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import runpy
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws
import pulumi_awsx
import pulumi_policy
from pulumi import runtime

with warnings.catch_warnings():
    # Packages of theirs that load on first use, and then warn of what they deprecate.
    warnings.simplefilter("ignore", DeprecationWarning)
    LOADED = (
        pulumi_aws.acm.Certificate,
        pulumi_aws.cloudwatch.MetricAlarm,
        pulumi_aws.ec2.Vpc,
        pulumi_aws.ecs.Service,
        pulumi_aws.iam.Role,
        pulumi_aws.lb.LoadBalancer,
        pulumi_aws.rds.Instance,
        pulumi_aws.route53.Record,
        pulumi_aws.s3.Bucket,
        pulumi_aws.wafv2.WebAcl,
        pulumi_awsx.ec2.Vpc,
        pulumi_policy.PolicyPack,
    )

ROOT = Path(__file__).parents[2]
FAILED, REPORTED = 1, 32


def run_program(program: str, folder: str, settings: Mapping[str, Any], config: Mapping[str, str]) -> None:
    """Runs a program for the engine that the settings name; `config` is how Pulumi hands on a stack's."""
    prepare(folder, config)
    sys.exit(main(program, settings))


def run_policy_pack(
    pack: str, folder: str, arguments: Sequence[str], variables: Mapping[str, str], output: Connection
) -> None:
    """Runs a policy pack as `python PACK ARGUMENTS`; what it writes goes to `output`."""
    prepare(folder, variables)
    os.dup2(output.fileno(), sys.stdout.fileno())
    sys.argv = [pack, *arguments]
    runpy.run_path(pack, run_name="__main__")


def prepare(folder: str, variables: Mapping[str, str]) -> None:
    os.chdir(folder)
    os.environ.update(variables)
    # The repository is none of the program's folders: it finds only what is installed.
    sys.path[:] = [path for path in sys.path if path and Path(path) != ROOT]
    # A short life with many objects, of which few are ever garbage.
    gc.disable()


def main(program: str, settings: Mapping[str, Any]) -> int:
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
