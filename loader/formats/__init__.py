"""How the rows of each format are read: a file a format, each with a chunk of its own (`loader.chunks`)."""
