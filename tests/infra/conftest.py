"""Loads Pulumi's packages before any test: they warn on first use, and `stacks.mock_engine` knows why."""

import stacks.mock_engine  # noqa: F401
