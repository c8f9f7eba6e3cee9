"""What gunicorn serves: the app, made from the environment. `server` opens `pool` and starts `newest`, after
the fork."""

import os
from functools import partial

from api.app import create_app
from api.data_version import NewestVersion
from api.settings import read_settings
from api.store import CONNECT_AGAIN_S, CONNECTION_SETTINGS, SILENCE_S, Store
from database.connect import connect, make_pool

settings = read_settings(os.environ)
# One connection a thread: more could not be used, fewer would make threads wait for each other.
pool = make_pool(
    "rates-api",
    size_max=settings.threads,
    wait_s=CONNECT_AGAIN_S,
    settings=CONNECTION_SETTINGS,
    silence_s=SILENCE_S,
)
listen = partial(
    connect, "rates-api-newest", autocommit=True, settings=CONNECTION_SETTINGS, silence_s=SILENCE_S
)
newest = NewestVersion(listen)
store = Store(pool)
app = create_app(store, newest, settings)
