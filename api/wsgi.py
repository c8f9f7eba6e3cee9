"""What gunicorn serves: the app, made from the environment. `server` opens the pool once it has forked."""

import os

from api.app import create_app
from api.settings import read_settings
from api.store import PLAN_SETTINGS, Store
from database.connect import make_pool

settings = read_settings(os.environ)
# One connection a thread: more could not be used, fewer would make threads wait for each other.
pool = make_pool("rates-api", size_max=settings.threads, settings=PLAN_SETTINGS)
app = create_app(Store(pool), settings)
