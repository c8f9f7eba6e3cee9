"""PostgreSQL as `api` and `loader` share it: how to connect, how the schema grows, where SQL is read from."""
