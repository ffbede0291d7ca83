\set a random(1, 100000)
\startpipeline
SELECT abalance FROM pgbench_accounts WHERE aid = :a;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :a;
SELECT abalance FROM pgbench_accounts WHERE aid = :a;
\endpipeline
\startpipeline
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance - 1 WHERE aid = :a;
COMMIT;
SELECT 1;
\endpipeline
