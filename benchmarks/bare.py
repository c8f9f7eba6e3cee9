"""A Falcon app that does nothing: what is left of a request without our part of it."""

from __future__ import annotations

import falcon


class Nothing:
    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.data = b'{"rates":[]}'


app = falcon.App(media_type=falcon.MEDIA_JSON)
app.add_route("/rates", Nothing())
