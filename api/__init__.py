"""The HTTP API: answers what a lane cost, day by day, from totals that the loader keeps.

`server` is gunicorn's configuration, `worker` its worker → `wsgi` makes the app from the environment → `app`
puts it together: one resource a file (`rates`, `health`) over one `store`, every error as JSON from `errors`.
"""
