"""What a stack may choose, a concern a file as the components have; `stack` reads them all."""
