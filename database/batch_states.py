"""What API and loader alike have to know of a batch's states."""

# Those in which none of its rows is in, so that there is nothing to withdraw; and how that came.
NOTHING_IN = {"rejected": "was rejected", "valid": "was a dry run"}
