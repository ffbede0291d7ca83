"""SQLAlchemy with its pool as it comes, without pre-ping: work, a pause, and more work on the same connection.

    DATABASE_URL=… python3 sqlalchemy_pauses.py PAUSES psycopg|psycopg2|asyncpg
"""

import asyncio
import sys

from sqlalchemy import ForeignKey, create_engine, func, make_url, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

import pauses
from pauses import PAUSES, done, pause, pause_async

DRIVER = sys.argv[2]
URL = make_url(pauses.URL).set(drivername=f"postgresql+{DRIVER}")


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = f"author_{DRIVER}"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    books: Mapped[list["Book"]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = f"book_{DRIVER}"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey(Author.id))
    author: Mapped[Author] = relationship(back_populates="books")


def work(engine):
    with Session(engine) as session:
        known = session.scalar(select(func.count()).select_from(Author))
        session.add(Author(name=f"name {known}", books=[Book(title=f"title {i}") for i in range(20)]))
        session.commit()
        author = session.scalars(select(Author).where(Author.name == f"name {known}")).one()
        assert sorted(book.title for book in author.books) == sorted(f"title {i}" for i in range(20))
        session.add(Author(name=f"name {known}"))
        try:
            session.commit()
            raise AssertionError("the name was taken twice")
        except IntegrityError:
            session.rollback()
        with session.begin_nested():
            author.books[0].title = "changed"
        session.commit()
        changed = session.scalar(
            select(func.count()).select_from(Book).where(Book.title == "changed", Book.author == author)
        )
        assert changed == 1, changed


def executemany(connection):
    """By psycopg, that is a pipeline."""
    rows = [{"old": f"title {i}", "new": f"title {i}!"} for i in range(1, 20)]
    connection.execute(text(f"UPDATE {Book.__tablename__} SET title = :new WHERE title = :old"), rows)


async def main():
    if DRIVER == "asyncpg":
        engine = create_async_engine(URL)
        piped = engine.execution_options(isolation_level="AUTOCOMMIT")
        async with engine.begin() as connection:
            await connection.run_sync(fresh)
        for turn in range(PAUSES + 1):
            if turn:
                await pause_async()
            async with engine.connect() as connection:
                await connection.run_sync(work)
            async with piped.connect() as connection:
                await connection.run_sync(executemany)
        await engine.dispose()
    else:
        engine = create_engine(URL)
        piped = engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.begin() as connection:
            fresh(connection)
        for turn in range(PAUSES + 1):
            if turn:
                pause()
            work(engine)
            with piped.connect() as connection:
                executemany(connection)
        engine.dispose()
    done()


def fresh(connection):
    Base.metadata.drop_all(connection)
    Base.metadata.create_all(connection)


if __name__ == "__main__":
    asyncio.run(main())
