"""Commands about stacks: what each declares, differs in and costs, and copies from birth to end."""


class StacksError(Exception):
    """What keeps a command from doing what it was asked for, said in a sentence for a person."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code
