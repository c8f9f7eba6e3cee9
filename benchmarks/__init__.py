"""Figures of the system, each a ratio to an anchor that is measured beside it in the same run.

`make bench` runs the parts that have targets. A part looks at the system from outside: through its commands
and through SQL. `alternatives` measures by name what was not chosen.
"""


class BenchmarkError(Exception):
    """What keeps a benchmark from figures that can be trusted, said in one line for a person."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
