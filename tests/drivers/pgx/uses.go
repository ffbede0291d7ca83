package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

func eachWay(ctx context.Context) {
	for _, way := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		c := connect(ctx, func(config *pgx.ConnConfig) { config.DefaultQueryExecMode = way })
		for i := range 20 {
			same(value[int](ctx, c, "SELECT $1::int + 1", i), i+1, way.String())
			same(value[string](ctx, c, "SELECT $1::text", "żółć"), "żółć", way.String())
			same(value[[]int32](ctx, c, "SELECT ARRAY[1, 2]::int[]"), []int32{1, 2}, way.String())
			var none int
			fails(c.QueryRow(ctx, "SELECT 1 / $1::int", 0).Scan(&none), "22012")
		}
		must(c.Close(ctx))
	}
}

func twoClients(ctx context.Context) {
	a, b := connect(ctx, nil), connect(ctx, nil)
	_, err := a.Prepare(ctx, "mine", "SELECT $1::int + 1")
	must(err)
	_, err = b.Prepare(ctx, "mine", "SELECT $1::text || 'b'")
	must(err)
	for i := range 20 {
		same(value[int](ctx, a, "mine", i), i+1, "a")
		same(value[string](ctx, b, "mine", strconv.Itoa(i)), fmt.Sprintf("%db", i), "b")
	}
	must(a.Deallocate(ctx, "mine"))
	same(value[string](ctx, b, "mine", "x"), "xb", "b after a's is gone")
	must(b.DeallocateAll(ctx))
	must(a.Close(ctx))
	must(b.Close(ctx))
}

func smallCache(ctx context.Context) {
	c := connect(ctx, func(config *pgx.ConnConfig) { config.StatementCacheCapacity = 5 })
	defer c.Close(ctx)
	for range 3 {
		for i := range 30 {
			same(value[int](ctx, c, fmt.Sprintf("SELECT $1::int + %d", i), 1), i+1, "statement")
		}
	}
}

func transactions(ctx context.Context) {
	c, other := connect(ctx, nil), connect(ctx, nil)
	defer c.Close(ctx)
	defer other.Close(ctx)
	exec(ctx, other, "DROP TABLE IF EXISTS pgx_kept")
	exec(ctx, other, "CREATE TABLE pgx_kept (v int PRIMARY KEY)")
	must(pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO pgx_kept VALUES ($1)", 1)
		must(err)
		same(value[int](ctx, other, "SELECT count(*)::int FROM pgx_kept"), 0, "before the commit")
		err = pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
			_, err := inner.Exec(ctx, "INSERT INTO pgx_kept VALUES ($1)", 1)
			return err
		})
		fails(err, "23505")
		_, err = tx.Exec(ctx, "INSERT INTO pgx_kept VALUES ($1)", 2)
		return err
	}))
	same(value[int](ctx, other, "SELECT count(*)::int FROM pgx_kept"), 2, "after the commit")
	tx, err := c.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	must(err)
	_, err = tx.Exec(ctx, "INSERT INTO pgx_kept VALUES (3)")
	fails(err, "25006")
	_, err = tx.Exec(ctx, "SELECT 1")
	fails(err, "25P02")
	must(tx.Rollback(ctx))
	same(value[int](ctx, c, "SELECT 1"), 1, "after the rollback")
}

func batches(ctx context.Context) {
	c := connect(ctx, nil)
	defer c.Close(ctx)
	for turn := range 3 {
		batch := &pgx.Batch{}
		for i := range 200 {
			batch.Queue(fmt.Sprintf("SELECT $1::int + %d", i%7), i)
		}
		results := c.SendBatch(ctx, batch)
		for i := range 200 {
			var seen int
			must(results.QueryRow().Scan(&seen))
			same(seen, i+i%7, fmt.Sprintf("turn %d", turn))
		}
		must(results.Close())
	}
	batch := &pgx.Batch{}
	batch.Queue("INSERT INTO pgx_kept VALUES (-1)")
	batch.Queue("SELECT 1 / $1::int", 0)
	batch.Queue("INSERT INTO pgx_kept VALUES (-2)")
	fails(c.SendBatch(ctx, batch).Close(), "22012")
	same(value[int](ctx, c, "SELECT count(*)::int FROM pgx_kept WHERE v < 0"), 0, "what a failed batch left")
	// A pipeline by hand: an error skips what follows up to its Sync.
	pipeline := c.PgConn().StartPipeline(ctx)
	for _, sql := range []string{"SELECT 1", "SELECT 1/0", "SELECT 2", "", "SELECT 3", ""} {
		if sql == "" {
			must(pipeline.Sync())
		} else {
			pipeline.SendQueryParams(sql, nil, nil, nil, nil)
		}
	}
	seen := []string{}
	for {
		result, err := pipeline.GetResults()
		if err != nil {
			fails(err, "22012")
			seen = append(seen, "error")
			continue
		}
		if result == nil {
			break
		}
		switch result := result.(type) {
		case *pgconn.ResultReader:
			read := result.Read()
			must(read.Err)
			seen = append(seen, string(read.Rows[0][0]))
		case *pgconn.PipelineSync:
			seen = append(seen, "sync")
		}
	}
	must(pipeline.Close())
	same(strings.Join(seen, " "), "1 error sync 3 sync", "a pipeline")
}

func copies(ctx context.Context) {
	c := connect(ctx, nil)
	defer c.Close(ctx)
	exec(ctx, c, "DROP TABLE IF EXISTS pgx_copied")
	exec(ctx, c, "CREATE TABLE pgx_copied (id int, t text)")
	table := pgx.Identifier{"pgx_copied"}
	source := pgx.CopyFromSlice(20000, func(i int) ([]any, error) {
		return []any{int32(i), fmt.Sprintf("row\t%d", i)}, nil
	})
	n, err := c.CopyFrom(ctx, table, []string{"id", "t"}, source)
	must(err)
	same(n, int64(20000), "in")
	var out strings.Builder
	tag, err := c.PgConn().CopyTo(ctx, &out, "COPY pgx_copied TO STDOUT")
	must(err)
	same(tag.RowsAffected(), int64(20000), "out")
	_, err = c.PgConn().CopyFrom(ctx, strings.NewReader("no number\tx\n"), "COPY pgx_copied FROM STDIN")
	fails(err, "22P02")
	source = pgx.CopyFromSlice(10, func(i int) ([]any, error) {
		if i == 5 {
			return nil, errors.New("the client thinks better of it")
		}
		return []any{int32(i), "x"}, nil
	})
	if _, err = c.CopyFrom(ctx, table, []string{"id", "t"}, source); err == nil {
		panic("a COPY that was given up worked")
	}
	same(value[int](ctx, c, "SELECT count(*)::int FROM pgx_copied"), 20000, "rows")
}

func cancelled(ctx context.Context) {
	// What pgx does by itself: it closes the connection, and asks the server to cancel.
	c := connect(ctx, nil)
	soon, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	if _, err := c.Exec(soon, "SELECT pg_sleep(30)"); !errors.Is(err, context.DeadlineExceeded) {
		panic(fmt.Sprintf("wanted the deadline, saw %v", err))
	}
	same(c.IsClosed(), true, "closed")
	// By hand: the connection stays.
	c = connect(ctx, nil)
	defer c.Close(ctx)
	time.AfterFunc(300*time.Millisecond, func() { must(c.PgConn().CancelRequest(ctx)) })
	began := time.Now()
	_, err := c.Exec(ctx, "SELECT pg_sleep(30)")
	fails(err, "57014")
	if time.Since(began) > 10*time.Second {
		panic("cancelled late")
	}
	same(value[int](ctx, c, "SELECT 1"), 1, "after it")
}

func changedTable(ctx context.Context) {
	c := connect(ctx, nil)
	defer c.Close(ctx)
	exec(ctx, c, "DROP TABLE IF EXISTS pgx_shape")
	exec(ctx, c, "CREATE TABLE pgx_shape AS SELECT 1 AS a")
	read := func() (int, error) {
		rows, err := c.Query(ctx, "SELECT * FROM pgx_shape")
		must(err)
		for rows.Next() {
		}
		return len(rows.FieldDescriptions()), rows.Err()
	}
	for range 3 {
		n, err := read()
		must(err)
		same(n, 1, "columns")
	}
	exec(ctx, c, "ALTER TABLE pgx_shape ADD COLUMN b int DEFAULT 2")
	// It may fail once; then pgx prepares it anew.
	n, err := read()
	if err != nil {
		fails(err, "0A000")
		n, err = read()
	}
	must(err)
	same(n, 2, "columns")
}

func pooled(ctx context.Context) {
	config, err := pgxpool.ParseConfig(url)
	must(err)
	config.MaxConns = 6
	pool, err := pgxpool.NewWithConfig(ctx, config)
	must(err)
	defer pool.Close()
	var all sync.WaitGroup
	broken := make(chan any, 20)
	for client := range 20 {
		all.Add(1)
		go func() {
			defer all.Done()
			defer func() {
				if e := recover(); e != nil {
					broken <- e
				}
			}()
			for turn := range 20 {
				var seen int
				must(pool.QueryRow(ctx, fmt.Sprintf("SELECT $1::int * 100 + %d", turn%5), client).Scan(&seen))
				same(seen, client*100+turn%5, "a pool's client")
			}
		}()
	}
	all.Wait()
	close(broken)
	for e := range broken {
		panic(e)
	}
}

func settings(ctx context.Context) {
	named := connect(ctx, func(config *pgx.ConnConfig) {
		config.RuntimeParams["application_name"] = "pgx app"
		config.RuntimeParams["search_path"] = "pg_catalog"
		config.RuntimeParams["statement_timeout"] = "7000"
	})
	other := connect(ctx, nil)
	defer named.Close(ctx)
	defer other.Close(ctx)
	for range 5 {
		same(value[string](ctx, named, "SHOW search_path"), "pg_catalog", "search_path")
		same(value[string](ctx, named, "SHOW application_name"), "pgx app", "application_name")
		same(value[string](ctx, named, "SHOW statement_timeout"), "7s", "statement_timeout")
		same(value[string](ctx, other, "SHOW statement_timeout"), "0", "the other's")
	}
}

func listen(ctx context.Context) {
	if mode == "transaction" {
		return
	}
	c, other := connect(ctx, nil), connect(ctx, nil)
	defer c.Close(ctx)
	defer other.Close(ctx)
	exec(ctx, c, "LISTEN pgx_news")
	exec(ctx, other, "SELECT pg_notify('pgx_news', 'hello')")
	limit, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	heard, err := c.WaitForNotification(limit)
	must(err)
	same(heard.Payload, "hello", "payload")
}

// More clients than there are sessions in a pool for transactions: a session that one of them holds is missed.
func lastPipeline(ctx context.Context) {
	n := 3
	if mode == "transaction" {
		n = 12
	}
	kept := make([]*pgx.Conn, n)
	for i := range kept {
		kept[i] = connect(ctx, nil)
	}
	for turn := range 2 {
		for _, c := range kept {
			batch := &pgx.Batch{}
			for i := range 20 {
				batch.Queue("SELECT $1::int", i)
			}
			must(c.SendBatch(ctx, batch).Close())
			pipeline := c.PgConn().StartPipeline(ctx)
			pipeline.SendQueryParams("SELECT 1", nil, nil, nil, nil)
			must(pipeline.Sync())
			must(pipeline.Close())
		}
		if pause, err := strconv.Atoi(os.Getenv("PAUSE")); err == nil && turn == 0 {
			time.Sleep(time.Duration(pause) * time.Second)
		}
	}
	for _, c := range kept {
		must(c.Close(ctx))
	}
}
