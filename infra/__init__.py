"""The Pulumi program: `__main__` wires the components, one a file, sized by `settings`."""
