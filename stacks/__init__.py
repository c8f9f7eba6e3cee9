"""Commands about stacks: what each declares, differs in and costs, and copies from birth to end."""
