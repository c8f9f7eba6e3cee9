"""`python -m tests.engine STACK COMMAND…`: the real `pulumi` on a stack that exists nowhere yet.

With `preview --diff` it shows what the first `pulumi up` of the stack would create.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from tests.engine.stack import Stack


def main(name: str, *command: str) -> int:
    if not shutil.which("pulumi"):
        sys.exit("this needs the pulumi command: https://www.pulumi.com/docs/install/")
    with tempfile.TemporaryDirectory() as folder:
        return Stack(Path(folder) / name, name).show(*command)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
