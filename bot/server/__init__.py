"""The web server: routes, access control, limits, pages, carriers' webhooks and media sockets."""
