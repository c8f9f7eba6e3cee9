"""What was measured of the API; `benchmarks.api_report` judges and shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from benchmarks.wrk import Load

LARGE_ROWS = 100_000_000
BARE_FALCON, THE_ORIGINAL, INDEXED = "bare Falcon", "original", "original, index"
OURS_COLD, OURS_WARM, KNOWN = "ours, cold", "ours, warm", "ours, 304"
COLD_IN_TWO_PROCESSES = "ours, cold, two"
FALCON_ON_GRANIAN, COLD_ON_GRANIAN, WARM_ON_GRANIAN = "granian: bare", "granian: cold", "granian: warm"


@dataclass
class Size:
    """A number of prices; `loads` by contestant and number of connections, one a round."""

    prices: int
    source: str
    loads: dict[str, dict[int, list[Load]]] = field(default_factory=dict)

    def add(self, name: str, connections: int, load: Load) -> None:
        self.loads.setdefault(name, {}).setdefault(connections, []).append(load)

    def middle(self, name: str, connections: int, value: Callable[[Load], float]) -> float | None:
        """The median of the rounds: what else a machine does goes either way here, as it takes from the one
        that asks as well."""
        found = self.loads.get(name, {}).get(connections, [])
        return median(value(load) for load in found) if found else None

    def per_s(self, name: str, connections: int) -> float | None:
        return self.middle(name, connections, lambda load: load.per_s)

    def p50_s(self, name: str, connections: int) -> float | None:
        return self.middle(name, connections, lambda load: load.p50_s)

    def p99_s(self, name: str, connections: int) -> float | None:
        return self.middle(name, connections, lambda load: load.p99_s)

    def p999_s(self, name: str, connections: int) -> float | None:
        return self.middle(name, connections, lambda load: load.p999_s)

    def cpu_us(self, name: str, connections: int) -> float | None:
        return self.middle(name, connections, lambda load: load.cpu_us)


@dataclass
class Figures:
    """`asked_rows` was wanted; `reference` where the dump is the original's; `free_core` where the servers
    had a core that nothing else ran on; by servers' names the seconds of each start, and the memory of a
    process that answers."""

    asked_rows: int
    reference: bool
    try_only: bool
    free_core: bool
    sizes: list[Size] = field(default_factory=list)
    load_s: float = 0.0
    start_s: dict[str, list[float]] = field(default_factory=dict)
    worker_bytes: dict[str, int] = field(default_factory=dict)
