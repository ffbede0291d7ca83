//! The connection string that `exec` makes, as the drivers read it that applications use.

use pgtether::demo::postgres::Setup;

use super::{ended, exec, server};
use crate::servers::{Admin, Version, postgres, tools};

const PYTHON: &str = r#"
import asyncio, os
import asyncpg, psycopg, psycopg2
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

url = os.environ["DATABASE_URL"]
asked = "SELECT current_user || '@' || current_database()"
with psycopg.connect(url) as connection:
    print("psycopg", connection.execute(asked).fetchone()[0])
connection = psycopg2.connect(url)
cursor = connection.cursor()
cursor.execute(asked)
print("psycopg2", cursor.fetchone()[0])

async def by_asyncpg():
    connection = await asyncpg.connect(url)
    print("asyncpg", await connection.fetchval(asked))
    await connection.close()
asyncio.run(by_asyncpg())

with create_engine(make_url(url).set(drivername="postgresql+psycopg")).connect() as connection:
    print("SQLAlchemy", connection.execute(text(asked)).scalar_one())
"#;

const ASYNC_SQLALCHEMY: &str = r#"
import asyncio, os
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

async def ask():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    async with engine.connect() as connection:
        asked = text("SELECT current_user || '@' || current_database()")
        print("SQLAlchemy with asyncpg", (await connection.execute(asked)).scalar_one())
    await engine.dispose()
asyncio.run(ask())
"#;

const NODE: &str = r#"
const need = require("node:module").createRequire(process.argv[1] + "/");
const url = process.env.DATABASE_URL;
const asked = "SELECT current_user || '@' || current_database() AS it";
(async () => {
  const client = new (need("pg").Client)({ connectionString: url });
  await client.connect();
  console.log("pg", (await client.query(asked)).rows[0].it);
  await client.end();
  const sql = need("postgres")(url);
  console.log("postgres.js", (await sql.unsafe(asked))[0].it);
  await sql.end();
})();
"#;

/// Runs it and returns what it says.
async fn said(url: &str, words: &[&str]) -> String {
    let packages = tools().join("drivers/python");
    assert!(packages.is_dir(), "the drivers are missing; `make tools` installs them");
    let mut command = exec(url, &[], words);
    let done = ended(command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1")).await;
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    done.out
}

#[tokio::test]
async fn every_driver_understands_it() {
    let cluster = server();
    let url = format!("{}?sslmode=prefer&channel_binding=prefer", cluster.superuser_url());
    let node = tools().join("drivers/node/node_modules").display().to_string();
    let python = said(&url, &["python3", "-c", PYTHON]).await;
    let it = "postgres@postgres";
    assert_eq!(python, format!("psycopg {it}\npsycopg2 {it}\nasyncpg {it}\nSQLAlchemy {it}\n"));
    assert_eq!(said(&url, &["node", "-e", NODE, &node]).await, format!("pg {it}\npostgres.js {it}\n"));
    let url = cluster.superuser_url().replace("postgresql://", "postgresql+asyncpg://");
    for query in ["", "?ssl=prefer"] {
        let said = said(&format!("{url}{query}"), &["python3", "-c", ASYNC_SQLALCHEMY]).await;
        assert_eq!(said, format!("SQLAlchemy with asyncpg {it}\n"), "{query}");
    }
}

#[tokio::test]
async fn python_and_node_understand_that_of_a_unix_socket() {
    let cluster = postgres(Version::V15, Setup::default().hba("host all app 127.0.0.1/32 trust"));
    let admin = Admin::of(&cluster).await;
    admin.query("CREATE ROLE app LOGIN").await;
    admin.close().await;
    let url = format!("postgresql://app@127.0.0.1:{}/postgres", cluster.port());
    let python = said(&url, &["python3", "-c", PYTHON]).await;
    let it = "app@postgres";
    assert_eq!(python, format!("psycopg {it}\npsycopg2 {it}\nasyncpg {it}\nSQLAlchemy {it}\n"));
    let node = tools().join("drivers/node/node_modules").display().to_string();
    let pg = NODE.split("  const sql").next().unwrap().to_owned() + "})();";
    assert_eq!(said(&url, &["node", "-e", &pg, &node]).await, format!("pg {it}\n"));
}

#[tokio::test]
async fn a_reload_keeps_the_pool_where_the_command_has_it() {
    let cluster = server();
    let script = "import os, psycopg, urllib.request
url, web = os.environ['DATABASE_URL'], os.environ['PGTETHER_WEB_URL']
with psycopg.connect(url) as before:
    reload = urllib.request.Request(web + '/-/reload', method='POST')
    assert urllib.request.urlopen(reload).status == 200
    assert before.execute('SELECT 1').fetchone() == (1,)
with psycopg.connect(url) as after:
    print(after.execute('SELECT 2').fetchone()[0])";
    let packages = tools().join("drivers/python");
    let mut command = exec(&cluster.superuser_url(), &["--web.enable-lifecycle"], &["python3", "-c", script]);
    let done = ended(command.env("PYTHONPATH", &packages).env("PYTHONDONTWRITEBYTECODE", "1")).await;
    assert_eq!((done.code, done.out.trim()), (0, "2"), "{}", done.err);
    let told = "request=\"POST /-/reload\" client=127.0.0.1 code=200";
    assert!(done.err.contains(told), "{}", done.err);
}
