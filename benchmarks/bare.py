"""A Falcon app that does nothing: what is left of a request without our part of it.

It answers what is constant, as many bytes as an answer of half a month has.
"""

from __future__ import annotations

import falcon

RATE = b'{"count":12,"day":"2021-01-15","price":1234.5833333333333}'
NOTHING = b'{"rates":[' + b",".join([RATE] * 16) + b"]}"


class Nothing:
    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.data = NOTHING


app = falcon.App(media_type=falcon.MEDIA_JSON)
app.add_route("/rates", Nothing())
