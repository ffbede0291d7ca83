"""What the psycopg scripts share."""

import psycopg

from uses import URL


def connect(**more):
    return psycopg.connect(URL, connect_timeout=10, **more)


def one(connection, query, params=None, **more):
    return connection.execute(query, params, **more).fetchone()[0]
