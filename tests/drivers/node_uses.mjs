// node-postgres as applications use it: its pool, named statements, errors, cancelling, COPY, cursors; and Postgres.js,
// which pipelines.
//
//   DATABASE_URL=… node node_uses.mjs FOLDER direct|session|transaction [USE…]
//
// FOLDER is where the drivers' packages are. Ends at the first thing that differs, and says in which use.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

const [folder, mode, ...only] = process.argv.slice(2);
assert.ok(['direct', 'session', 'transaction'].includes(mode), mode);
const need = createRequire(`${folder}/`);
const pg = need('pg');
const Cursor = need('pg-cursor');
const { from: copyFrom, to: copyTo } = need('pg-copy-streams');
const postgres = need('postgres');

const url = process.env.DATABASE_URL;
const connectionString = url;
const ownSession = mode !== 'transaction';

async function withPool(max, work, more = {}) {
  const pool = new pg.Pool({ connectionString, max, connectionTimeoutMillis: 10_000, ...more });
  try {
    return await work(pool);
  } finally {
    await pool.end();
  }
}

async function withClient(work, more = {}) {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 10_000, ...more });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const fails = (promise, code) => assert.rejects(promise, { code });

const uses = {
  async 'a pool runs queries side by side'() {
    await withPool(8, async (pool) => {
      const answers = await Promise.all(
        Array.from({ length: 200 }, (_, i) => pool.query('SELECT $1::int AS i, $2::text AS t', [i, `t${i}`])),
      );
      answers.forEach(({ rows }, i) => assert.deepEqual(rows, [{ i, t: `t${i}` }]));
    });
  },

  async 'named statements of many clients do not meet'() {
    await withPool(6, async (pool) => {
      await Promise.all(
        Array.from({ length: 120 }, async (_, i) => {
          const name = `statement ${i % 10}`;
          const { rows } = await pool.query({ name, text: `SELECT $1::int * ${i % 10} AS v`, values: [i] });
          assert.deepEqual(rows, [{ v: i * (i % 10) }]);
        }),
      );
    });
    // The same name with another text, on another connection.
    await withClient(async (client) => {
      const { rows } = await client.query({ name: 'statement 3', text: 'SELECT $1::text AS v', values: ['x'] });
      assert.deepEqual(rows, [{ v: 'x' }]);
    });
  },

  async 'transactions commit and roll back'() {
    await withPool(2, async (pool) => {
      await pool.query('DROP TABLE IF EXISTS node_kept; CREATE TABLE node_kept (v int PRIMARY KEY)');
      const client = await pool.connect();
      await client.query('BEGIN');
      await client.query('INSERT INTO node_kept VALUES ($1)', [1]);
      assert.equal((await pool.query('SELECT count(*)::int AS n FROM node_kept')).rows[0].n, 0);
      await client.query('COMMIT');
      await client.query('BEGIN');
      await client.query('INSERT INTO node_kept VALUES ($1)', [2]);
      await fails(client.query('INSERT INTO node_kept VALUES ($1)', [1]), '23505');
      await fails(client.query('SELECT 1'), '25P02');
      await client.query('ROLLBACK');
      client.release();
      assert.deepEqual((await pool.query('SELECT v FROM node_kept')).rows, [{ v: 1 }]);
    });
  },

  async 'several statements in one query give several answers'() {
    await withClient(async (client) => {
      const answers = await client.query('SELECT 1 AS a; SELECT 2 AS b; UPDATE node_kept SET v = v; SELECT 3 AS c');
      assert.deepEqual(answers.map((a) => a.rows), [[{ a: 1 }], [{ b: 2 }], [], [{ c: 3 }]]);
      await fails(client.query('SELECT 1; SELECT 1/0; SELECT 2'), '22012');
      assert.deepEqual((await client.query('')).rows, []);
    });
  },

  async 'an error carries its fields and leaves the client usable'() {
    await withClient(async (client) => {
      await assert.rejects(client.query('SELECT * FROM never_there'), (e) => {
        assert.equal(e.code, '42P01');
        assert.equal(e.severity, 'ERROR');
        assert.equal(e.position, '15');
        return true;
      });
      const divide = (by) => client.query({ name: 'divide', text: 'SELECT 6 / $1::int AS v', values: [by] });
      await fails(divide(0), '22012');
      assert.deepEqual((await divide(2)).rows, [{ v: 3 }]);
    });
  },

  async 'a cancelled query ends and the next one runs'() {
    await withClient(async (client) => {
      const began = Date.now();
      const sleeping = client.query('SELECT pg_sleep(30)');
      sleeping.catch(() => {});
      // As node-postgres sends it: a connection of its own with the process id and the key.
      const canceller = new pg.Client({ connectionString });
      setTimeout(() => canceller.cancel(client, client._activeQuery), 200);
      await fails(sleeping, '57014');
      assert.ok(Date.now() - began < 5000, `cancelled after ${Date.now() - began} ms`);
      assert.equal((await client.query('SELECT 1 AS v')).rows[0].v, 1);
    });
  },

  async 'a client that gives up a query is replaced'() {
    await withPool(
      1,
      async (pool) => {
        await assert.rejects(pool.query('SELECT pg_sleep(1)'), /timeout/i);
        assert.equal((await pool.query('SELECT 1 AS v')).rows[0].v, 1);
      },
      { query_timeout: 500 },
    );
  },

  async 'a statement timeout of the startup holds'() {
    await withPool(
      1,
      async (pool) => {
        await fails(pool.query('SELECT pg_sleep(30)'), '57014');
        assert.equal((await pool.query('SELECT 1 AS v')).rows[0].v, 1);
      },
      { statement_timeout: 200 },
    );
  },

  async 'COPY streams in and out'() {
    await withPool(2, async (pool) => {
      await pool.query('DROP TABLE IF EXISTS node_copied; CREATE TABLE node_copied (id int, t text)');
      const client = await pool.connect();
      const lines = (function* () {
        for (let i = 0; i < 50_000; i++) yield `${i}\trow ${i}\n`;
      })();
      const into = client.query(copyFrom('COPY node_copied FROM STDIN'));
      await pipeline(Readable.from(lines), into);
      assert.equal(into.rowCount, 50_000);
      let bytes = 0;
      const out = client.query(copyTo('COPY node_copied TO STDOUT'));
      for await (const chunk of out) bytes += chunk.length;
      assert.equal(out.rowCount, 50_000);
      assert.ok(bytes > 500_000, `${bytes} bytes`);
      const broken = client.query(copyFrom('COPY node_copied (id) FROM STDIN'));
      await fails(pipeline(Readable.from(['no number\n']), broken), '22P02');
      assert.equal((await client.query('SELECT count(*)::int AS n FROM node_copied')).rows[0].n, 50_000);
      client.release();
    });
  },

  async 'a cursor reads in parts'() {
    await withClient(async (client) => {
      await client.query('BEGIN');
      const cursor = client.query(new Cursor('SELECT g FROM generate_series(1, $1::int) g', [1000]));
      let seen = 0;
      for (let rows; (rows = await cursor.read(64)).length; ) seen += rows.length;
      assert.equal(seen, 1000);
      await cursor.close();
      const given_up = client.query(new Cursor('SELECT g FROM generate_series(1, 1000000) g'));
      assert.equal((await given_up.read(3)).length, 3);
      await given_up.close();
      await client.query('COMMIT');
      assert.equal((await client.query('SELECT 1 AS v')).rows[0].v, 1);
    });
  },

  async 'settings of the startup hold'() {
    await withClient(
      async (client) => {
        await withClient(async (other) => {
          for (let i = 0; i < 3; i++) {
            assert.equal((await client.query('SHOW application_name')).rows[0].application_name, 'node-app');
            assert.notEqual((await other.query('SHOW application_name')).rows[0].application_name, 'node-app');
          }
        });
      },
      { application_name: 'node-app' },
    );
  },

  async 'TLS is taken where it is asked for'() {
    await withClient(
      async (client) => assert.equal((await client.query('SELECT 1 AS v')).rows[0].v, 1),
      { ssl: { rejectUnauthorized: false } },
    );
  },

  async 'listeners hear what is notified'() {
    if (!ownSession) return;
    await withClient(async (listener) => {
      const heard = new Promise((resolve) => listener.once('notification', resolve));
      await listener.query('LISTEN node_news');
      await withPool(1, (pool) => pool.query("SELECT pg_notify('node_news', 'hello')"));
      assert.equal((await heard).payload, 'hello');
    });
  },

  async 'Postgres.js pipelines what it prepares'() {
    const sql = postgres(url, { max: 3, onnotice: () => {}, connect_timeout: 10 });
    try {
      const answers = await Promise.all(
        Array.from({ length: 300 }, (_, i) => (i % 2 ? sql`SELECT ${i}::int AS v` : sql`SELECT ${i}::int + 1 AS v`)),
      );
      answers.forEach((rows, i) => assert.equal(rows[0].v, i % 2 ? i : i + 1));
      const total = await sql.begin(async (tx) => {
        await tx`CREATE TEMP TABLE js (v int) ON COMMIT DROP`;
        await Promise.all(Array.from({ length: 50 }, (_, i) => tx`INSERT INTO js VALUES (${i})`));
        return tx`SELECT sum(v)::int AS v FROM js`;
      });
      assert.equal(total[0].v, 1225);
      await assert.rejects(sql`SELECT 1 / ${0}::int`, { code: '22012' });
      const sleeping = sql`SELECT pg_sleep(30)`.execute();
      setTimeout(() => sleeping.cancel(), 200);
      await assert.rejects(sleeping, { code: '57014' });
      let rows = 0;
      for await (const part of sql`SELECT generate_series(1, 1000) AS v`.cursor(100)) rows += part.length;
      assert.equal(rows, 1000);
      assert.equal((await sql`SELECT 1 AS v`)[0].v, 1);
    } finally {
      await sql.end({ timeout: 5 });
    }
  },

  async 'the last thing is a pipeline behind which others come'() {
    // More clients than a pool for transactions has sessions: one that is held by a client of these is missed.
    const kept = Array.from({ length: ownSession ? 2 : 6 }, () => postgres(url, { max: 1, connect_timeout: 20 }));
    for (let turn = 0; turn < 2; turn++) {
      for (const sql of kept) {
        const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => sql`SELECT ${i}::int AS v`));
        answers.forEach((rows, i) => assert.equal(rows[0].v, i));
      }
      const pause = 1000 * Number(process.env.PAUSE ?? 0);
      if (turn === 0) await new Promise((resolve) => setTimeout(resolve, pause));
    }
    await Promise.all(kept.map((sql) => sql.end({ timeout: 5 })));
  },
};

for (const name of only.length ? only : Object.keys(uses)) {
  const use = uses[name];
  const began = Date.now();
  try {
    await use();
  } catch (error) {
    console.log(`${name} FAILED (${mode})\n${error.stack}`);
    if (error.cause) console.log(error.cause);
    process.exit(1);
  }
  console.log(`${name}: ${Date.now() - began} ms`);
}
