"""An application to try uWSGI's statistics with; see docs/uwsgi.md."""


def application(environ, respond):
    respond("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\n"]
