"""The HTTP API: answers what a lane cost, day by day, from totals that the loader keeps; and accepts batches.

`server` is gunicorn's configuration, `worker` its worker, `server_log` its log and `connections` what it
leaves undone → `wsgi` makes the app from the environment → `app` puts it together: one resource a file
(`rates`, `health`, `batches`, `batch`, `batch_errors`, `uploads`), every error as JSON from `errors`.

`rates` answers a `question`, from `totals` or by `widening`, as JSON or `as_csv`; `answers` keeps them.

A batch comes in by `bearers` → `orders` → `intake` → `acceptance`; none of them needs the database. It is
told of by `known`, from the `ledger` over the `store`, or so far from the bucket.
"""
