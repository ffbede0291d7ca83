// pgx as applications use it: each mode of a query, its cache of statements, batches, COPY, its pool, cancelling.
//
//	DATABASE_URL=postgresql://… pgx direct|session|transaction [USE…]
//
// Ends at the first thing that differs, and says in which use.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	url  = os.Getenv("DATABASE_URL")
	mode = os.Args[1]
)

type use struct {
	name string
	run  func(context.Context)
}

var uses = []use{
	{"each_way_to_execute_gives_the_same", eachWay},
	{"statements_of_two_clients_do_not_meet", twoClients},
	{"a_small_cache_closes_what_it_evicts", smallCache},
	{"transactions_and_savepoints", transactions},
	{"a_batch_is_answered_in_its_order", batches},
	{"copy_goes_in_and_out", copies},
	{"a_context_that_ends_cancels_its_query", cancelled},
	{"a_changed_table_is_prepared_anew", changedTable},
	{"a_pool_serves_many", pooled},
	{"settings_of_the_startup_hold", settings},
	{"listeners_hear_what_is_notified", listen},
	{"the_last_thing_is_a_pipeline_behind_which_others_come", lastPipeline},
}

// must ends the use.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func same(seen, wanted any, what string) {
	if !reflect.DeepEqual(seen, wanted) {
		panic(fmt.Sprintf("%s: saw %v, wanted %v", what, seen, wanted))
	}
}

func fails(err error, sqlState string) {
	var told *pgconn.PgError
	if !errors.As(err, &told) || told.Code != sqlState {
		panic(fmt.Sprintf("wanted %s, saw %v", sqlState, err))
	}
}

func connect(ctx context.Context, change func(*pgx.ConnConfig)) *pgx.Conn {
	config, err := pgx.ParseConfig(url)
	must(err)
	config.ConnectTimeout = 20 * time.Second
	if change != nil {
		change(config)
	}
	c, err := pgx.ConnectConfig(ctx, config)
	must(err)
	return c
}

func value[T any](ctx context.Context, c *pgx.Conn, sql string, args ...any) T {
	var seen T
	must(c.QueryRow(ctx, sql, args...).Scan(&seen))
	return seen
}

func exec(ctx context.Context, c *pgx.Conn, sql string, args ...any) {
	_, err := c.Exec(ctx, sql, args...)
	must(err)
}

func main() {
	only := os.Args[2:]
	for _, use := range uses {
		wanted := len(only) == 0
		for _, name := range only {
			wanted = wanted || name == use.name
		}
		if !wanted {
			continue
		}
		began := time.Now()
		func() {
			defer func() {
				if e := recover(); e != nil {
					fmt.Printf("%s FAILED (%s): %v\n", use.name, mode, e)
					os.Exit(1)
				}
			}()
			use.run(context.Background())
		}()
		fmt.Printf("%s: %d ms\n", use.name, time.Since(began).Milliseconds())
	}
}
