"""What the project's stack files say in place of a company's own names, until somebody puts those in."""

import re
from collections.abc import Mapping

import pulumi

# A word of its own: `rates.example.com`, `example/rates`, `Z0123456789EXAMPLE`.
PLACEHOLDER = re.compile(r"(?<![a-z])example(?![a-z])", re.IGNORECASE)


def placeholders(project: str, config: Mapping[str, str]) -> list[str]:
    """Keys of the project's settings that nobody has replaced yet."""
    return sorted(
        key for key, value in config.items() if key.startswith(f"{project}:") and PLACEHOLDER.search(value)
    )


def warn_of_placeholders(project: str, stack: str, config: Mapping[str, str]) -> None:
    """A preview is fine with them, and what AWS would say of them is hard to understand."""
    if keys := placeholders(project, config):
        pulumi.log.warn(
            f"Pulumi.{stack}.yaml still has names with `example`, which stand for yours; put those in before "
            f"`pulumi up`: {', '.join(keys)}"
        )
