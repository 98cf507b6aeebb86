"""The web server: routes, access, limits, the carriers' webhooks and media sockets, pages."""
