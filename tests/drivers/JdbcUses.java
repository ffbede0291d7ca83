// pgjdbc as applications use it: statements that it prepares after some uses, batches, savepoints of its own, COPY,
// cancelling, cursors, generated keys.
//
//   DATABASE_URL=postgresql://… java -cp postgresql.jar JdbcUses.java direct|session|transaction [USE…]
//
// Ends at the first thing that differs, and says in which use.

import java.io.StringReader;
import java.io.StringWriter;
import java.net.URI;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;

public class JdbcUses {
    interface Use {
        void run() throws Exception;
    }

    interface Action {
        void run() throws Exception;
    }

    static final Map<String, Use> USES = new LinkedHashMap<>();
    static String mode;

    /** A connection with these parameters, as name and value. */
    static Connection connect(String... parameters) throws SQLException {
        return connectTo(System.getenv("DATABASE_URL"), parameters);
    }

    static Connection connectTo(String url, String... parameters) throws SQLException {
        URI uri = URI.create(url);
        String[] login = uri.getUserInfo().split(":", 2);
        Properties more = new Properties();
        more.setProperty("user", login[0]);
        more.setProperty("password", login[1]);
        more.setProperty("loginTimeout", "20");
        for (int i = 0; i < parameters.length; i += 2) more.setProperty(parameters[i], parameters[i + 1]);
        String server = uri.getHost() + ":" + uri.getPort();
        return DriverManager.getConnection("jdbc:postgresql://" + server + uri.getPath(), more);
    }

    static void same(Object seen, Object wanted, String what) {
        if (!Objects.equals(seen, wanted)) throw new AssertionError(what + ": saw " + seen + ", wanted " + wanted);
    }

    static void fails(String sqlState, Action action) throws Exception {
        try {
            action.run();
        } catch (SQLException e) {
            if (sqlState.equals(e.getSQLState())) return;
            throw new AssertionError("wanted " + sqlState + ", saw " + e.getSQLState(), e);
        }
        throw new AssertionError("wanted " + sqlState + ", but nothing failed");
    }

    static void run(Connection c, String... statements) throws SQLException {
        try (Statement s = c.createStatement()) {
            for (String sql : statements) s.execute(sql);
        }
    }

    /** The only value of a prepared statement's result. */
    static Object value(Connection c, String sql, Object... values) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) s.setObject(i + 1, values[i]);
            try (ResultSet rows = s.executeQuery()) {
                rows.next();
                return rows.getObject(1);
            }
        }
    }

    static {
        USES.put("values_of_many_types_come_back_as_text_and_as_binary", () -> {
            try (Connection c = connect()) {
                UUID uuid = UUID.fromString("00112233-4455-6677-8899-aabbccddeeff");
                LocalDateTime at = LocalDateTime.of(2026, 2, 28, 23, 59, 59, 123456000);
                String sql = "SELECT ?::int8, ?::text, ?::uuid, ?::timestamp, ?::float8, ?::bytea, ARRAY[1, 2]";
                try (PreparedStatement s = c.prepareStatement(sql)) {
                    // From the fifth time on it is prepared, and its values are binary.
                    for (int turn = 0; turn < 12; turn++) {
                        s.setLong(1, 1L << 40);
                        s.setString(2, "żółć \uD83D\uDC18");
                        s.setObject(3, uuid);
                        s.setObject(4, at);
                        s.setDouble(5, 1.5);
                        s.setBytes(6, new byte[] {0, -1});
                        ResultSet row = s.executeQuery();
                        row.next();
                        same(row.getLong(1), 1L << 40, "int8");
                        same(row.getString(2), "żółć \uD83D\uDC18", "text");
                        same(row.getObject(3), uuid, "uuid");
                        same(row.getObject(4, LocalDateTime.class), at, "timestamp");
                        same(row.getDouble(5), 1.5, "float8");
                        same(Arrays.toString(row.getBytes(6)), "[0, -1]", "bytea");
                        Array array = row.getArray(7);
                        same(Arrays.toString((Object[]) array.getArray()), "[1, 2]", "array");
                    }
                }
            }
        });

        USES.put("statements_of_two_clients_do_not_meet_when_they_get_prepared", () -> {
            for (String threshold : List.of("1", "5", "-1")) {
                try (Connection a = connect("prepareThreshold", threshold);
                        Connection b = connect("prepareThreshold", threshold);
                        PreparedStatement ofA = a.prepareStatement("SELECT ? + 1");
                        PreparedStatement ofB = b.prepareStatement("SELECT ? || 'b'")) {
                    for (int i = 0; i < 15; i++) {
                        ofA.setInt(1, i);
                        ofB.setString(1, "" + i);
                        try (ResultSet rows = ofA.executeQuery()) {
                            rows.next();
                            same(rows.getInt(1), i + 1, "a");
                        }
                        try (ResultSet rows = ofB.executeQuery()) {
                            rows.next();
                            same(rows.getString(1), i + "b", "b");
                        }
                        same(value(a, "SELECT ? * 2", i), i * 2, "another of a");
                    }
                }
            }
        });

        USES.put("more_statements_than_are_kept_are_closed_and_prepared_anew", () -> {
            try (Connection c = connect("prepareThreshold", "1", "preparedStatementCacheQueries", "10")) {
                for (int turn = 0; turn < 3; turn++) {
                    for (int i = 0; i < 40; i++) same(value(c, "SELECT ?::int + " + i, 1), i + 1, "statement " + i);
                }
            }
        });

        USES.put("queries_without_the_extended_protocol", () -> {
            try (Connection c = connect("preferQueryMode", "simple")) {
                for (int i = 0; i < 10; i++) same(value(c, "SELECT ?::int * 3", i), i * 3, "simple");
            }
        });

        USES.put("batches_and_their_keys", () -> {
            for (String rewrites : List.of("false", "true")) {
                try (Connection c = connect("reWriteBatchedInserts", rewrites)) {
                    run(c, "DROP TABLE IF EXISTS jdbc_batch", "CREATE TABLE jdbc_batch (id serial, v int PRIMARY KEY)");
                    try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc_batch (v) VALUES (?)")) {
                        for (int turn = 0; turn < 8; turn++) {
                            for (int i = 0; i < 300; i++) {
                                s.setInt(1, 300 * turn + i);
                                s.addBatch();
                            }
                            same(s.executeBatch().length, 300, "counts");
                        }
                    }
                    same(value(c, "SELECT count(*) FROM jdbc_batch"), 2400L, "rows");
                    String insert = "INSERT INTO jdbc_batch (v) VALUES (?)";
                    try (PreparedStatement s = c.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
                        for (int i = 0; i < 20; i++) {
                            s.setInt(1, 10_000 + i);
                            s.addBatch();
                        }
                        s.executeBatch();
                        List<Integer> keys = new ArrayList<>();
                        for (ResultSet rows = s.getGeneratedKeys(); rows.next();) keys.add(rows.getInt("id"));
                        same(keys.size() + " " + keys.get(0) + " " + keys.get(19), "20 2401 2420", "keys");
                    }
                    // An error ends the batch; nothing of it is left, within a transaction or not.
                    for (boolean own : new boolean[] {true, false}) {
                        c.setAutoCommit(!own);
                        try (Statement s = c.createStatement()) {
                            s.addBatch("INSERT INTO jdbc_batch (v) VALUES (-1)");
                            s.addBatch("INSERT INTO jdbc_batch (v) VALUES (5)");
                            s.addBatch("INSERT INTO jdbc_batch (v) VALUES (-2)");
                            s.executeBatch();
                            throw new AssertionError("the batch worked");
                        } catch (BatchUpdateException e) {
                            same(e.getSQLState(), "23505", "the batch's error");
                        }
                        if (own) c.rollback();
                    }
                    c.setAutoCommit(true);
                    same(value(c, "SELECT count(*) FROM jdbc_batch WHERE v < 0"), 0L, "rows of the failed batch");
                }
            }
        });

        USES.put("a_transaction_goes_on_behind_an_error_where_savepoints_are_set", () -> {
            try (Connection c = connect("autosave", "always", "prepareThreshold", "1")) {
                run(c, "DROP TABLE IF EXISTS jdbc_saved", "CREATE TABLE jdbc_saved (v int PRIMARY KEY)");
                c.setAutoCommit(false);
                for (int i = 0; i < 12; i++) {
                    run(c, "INSERT INTO jdbc_saved VALUES (" + i + ")");
                    int again = i;
                    fails("23505", () -> run(c, "INSERT INTO jdbc_saved VALUES (" + again + ")"));
                    fails("22012", () -> value(c, "SELECT 1 / ?", 0));
                }
                c.commit();
                same(value(c, "SELECT count(*) FROM jdbc_saved"), 12L, "rows");
                c.rollback();
            }
            // A plan that a changed table has made useless is made anew, unseen.
            try (Connection c = connect("autosave", "conservative", "prepareThreshold", "1");
                    Connection other = connect()) {
                c.setAutoCommit(false);
                for (int i = 0; i < 3; i++) {
                    same(value(c, "SELECT * FROM jdbc_saved WHERE v = ?", 3), 3, "before");
                    c.commit();
                }
                run(other, "ALTER TABLE jdbc_saved ADD COLUMN w int DEFAULT 7");
                for (int i = 0; i < 3; i++) {
                    same(value(c, "SELECT 1"), 1, "first in the transaction");
                    same(value(c, "SELECT * FROM jdbc_saved WHERE v = ?", 3), 3, "after");
                    c.commit();
                }
            }
        });

        // It asks for descriptions of portals only, and reads later rows by the first one. Other sessions prepare anew.
        USES.put("a_column_whose_type_is_changed_elsewhere_is_read_as_what_it_is_now", () -> {
            for (String[] change : new String[][] {
                {"bigint", "5000000000"}, {"text", "seven"}, {"float8", "1.5"}
            }) {
                String sql = "SELECT v FROM jdbc_typed WHERE id = ? /* " + change[0] + " */";
                List<Connection> busy = new ArrayList<>();
                try (Connection owner = connectTo(System.getenv("DIRECT_URL"));
                        Connection c = connect("prepareThreshold", "1");
                        PreparedStatement s = c.prepareStatement(sql)) {
                    run(owner, "DROP TABLE IF EXISTS jdbc_typed", "CREATE TABLE jdbc_typed (id int, v int)",
                            "INSERT INTO jdbc_typed VALUES (1, 7)");
                    s.setInt(1, 1);
                    c.setAutoCommit(false);
                    for (int turn = 0; turn < 3; turn++) {
                        ResultSet rows = s.executeQuery();
                        rows.next();
                        same(rows.getString(1), "7", "before " + change[0]);
                    }
                    Object session = value(c, "SELECT pg_backend_pid()");
                    c.commit();
                    c.setAutoCommit(true);
                    // Others hold the session that has the statement.
                    while (mode.equals("transaction") && busy.size() < 2) {
                        Connection other = connect();
                        busy.add(other);
                        other.setAutoCommit(false);
                        if (value(other, "SELECT pg_backend_pid()").equals(session)) break;
                    }
                    run(owner, "ALTER TABLE jdbc_typed ALTER v TYPE " + change[0] + " USING '" + change[1] + "'");
                    for (int turn = 0; turn < 3; turn++) {
                        ResultSet rows = s.executeQuery();
                        rows.next();
                        same(rows.getString(1), change[1], "after " + change[0]);
                    }
                } finally {
                    for (Connection other : busy) other.close();
                }
            }
        });

        USES.put("copy_goes_in_and_out", () -> {
            try (Connection c = connect()) {
                run(c, "DROP TABLE IF EXISTS jdbc_copied", "CREATE TABLE jdbc_copied (id int, t text)");
                var copy = c.unwrap(PGConnection.class).getCopyAPI();
                StringBuilder rows = new StringBuilder();
                for (int i = 0; i < 20_000; i++) rows.append(i).append("\trow ").append(i).append('\n');
                same(copy.copyIn("COPY jdbc_copied FROM STDIN", new StringReader(rows.toString())), 20_000L, "in");
                StringWriter out = new StringWriter();
                same(copy.copyOut("COPY (SELECT * FROM jdbc_copied ORDER BY id) TO STDOUT", out), 20_000L, "out");
                same(out.toString(), rows.toString(), "what came out");
                fails("22P02", () -> copy.copyIn("COPY jdbc_copied FROM STDIN", new StringReader("no number\tx\n")));
                var given_up = copy.copyIn("COPY jdbc_copied FROM STDIN");
                given_up.writeToCopy("1\tx\n".getBytes(), 0, 4);
                given_up.cancelCopy();
                same(value(c, "SELECT count(*) FROM jdbc_copied"), 20_000L, "rows");
            }
        });

        USES.put("a_query_is_cancelled_or_takes_too_long", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                Thread canceller = new Thread(() -> {
                    try {
                        Thread.sleep(300);
                        s.cancel();
                    } catch (Exception e) {
                        throw new RuntimeException(e);
                    }
                });
                long began = System.nanoTime();
                canceller.start();
                fails("57014", () -> s.execute("SELECT pg_sleep(30)"));
                canceller.join();
                s.setQueryTimeout(1);
                fails("57014", () -> s.execute("SELECT pg_sleep(30)"));
                if (System.nanoTime() - began > 15_000_000_000L) throw new AssertionError("cancelled late");
                s.setQueryTimeout(0);
                same(value(c, "SELECT 1"), 1, "after it");
            }
        });

        USES.put("read_only_and_isolation_are_the_connections_own", () -> {
            for (String how : List.of("transaction", "always")) {
                try (Connection reads = connect("readOnlyMode", how); Connection writes = connect()) {
                    run(writes, "DROP TABLE IF EXISTS jdbc_written", "CREATE TABLE jdbc_written (v int)");
                    reads.setReadOnly(true);
                    reads.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
                    for (int turn = 0; turn < 3; turn++) {
                        reads.setAutoCommit(false);
                        same(value(reads, "SHOW transaction_isolation"), "serializable", how);
                        fails("25006", () -> run(reads, "INSERT INTO jdbc_written VALUES (1)"));
                        reads.rollback();
                        reads.setAutoCommit(true);
                        same(value(writes, "SHOW transaction_isolation"), "read committed", "the other's");
                        run(writes, "INSERT INTO jdbc_written VALUES (2)");
                    }
                    reads.setReadOnly(false);
                    run(reads, "INSERT INTO jdbc_written VALUES (3)");
                    same(value(writes, "SELECT count(*) FROM jdbc_written"), 4L, "rows");
                }
            }
        });

        USES.put("a_cursor_reads_in_parts_in_a_transaction", () -> {
            try (Connection c = connect()) {
                c.setAutoCommit(false);
                try (PreparedStatement s = c.prepareStatement("SELECT g FROM generate_series(1, ?) g")) {
                    s.setFetchSize(500);
                    for (int turn = 0; turn < 7; turn++) {
                        s.setInt(1, 5250);
                        long sum = 0;
                        try (ResultSet rows = s.executeQuery()) {
                            while (rows.next()) sum += rows.getInt(1);
                        }
                        same(sum, 5250L * 5251 / 2, "turn " + turn);
                        // Given up in its middle.
                        try (ResultSet rows = s.executeQuery()) {
                            rows.next();
                        }
                        same(value(c, "SELECT 1"), 1, "beside it");
                        c.commit();
                    }
                }
            }
        });

        USES.put("keys_that_were_generated_come_back", () -> {
            try (Connection c = connect()) {
                run(c, "DROP TABLE IF EXISTS jdbc_keys",
                        "CREATE TABLE jdbc_keys (id int GENERATED ALWAYS AS IDENTITY, v text)");
                String insert = "INSERT INTO jdbc_keys (v) VALUES (?)";
                try (PreparedStatement s = c.prepareStatement(insert, new String[] {"id"})) {
                    for (int i = 1; i <= 10; i++) {
                        s.setString(1, "v" + i);
                        s.executeUpdate();
                        ResultSet keys = s.getGeneratedKeys();
                        keys.next();
                        same(keys.getInt(1), i, "key");
                    }
                }
            }
        });

        USES.put("what_a_connection_is_set_to_follows_it", () -> {
            try (Connection a = connect("ApplicationName", "jdbc app", "options", "-c statement_timeout=7s");
                    Connection b = connect()) {
                a.setSchema("pg_catalog");
                a.setClientInfo("ApplicationName", "jdbc renamed");
                for (int i = 0; i < 8; i++) {
                    same(value(a, "SHOW statement_timeout"), "7s", "of the startup");
                    same(a.getSchema(), "pg_catalog", "schema");
                    same(b.getSchema(), "public", "the other's schema");
                    same(value(a, "SHOW application_name"), "jdbc renamed", "name");
                    same(a.isValid(5), true, "valid");
                }
            }
        });

        // Whatever comes last holds no session: more clients than there are sessions do it, and come back later.
        USES.put("the_last_thing_is_a_pipeline_behind_which_others_come", () -> {
            List<Connection> kept = new ArrayList<>();
            for (int i = 0; i < (mode.equals("transaction") ? 12 : 3); i++) kept.add(connect());
            for (int turn = 0; turn < 2; turn++) {
                for (Connection c : kept) {
                    try (Statement s = c.createStatement()) {
                        for (int i = 0; i < 20; i++) s.addBatch("DO 'BEGIN END'");
                        same(s.executeBatch().length, 20, "turn " + turn);
                    }
                }
                if (turn == 0) Thread.sleep(Long.parseLong(System.getenv().getOrDefault("PAUSE", "0")) * 1000);
            }
            for (Connection c : kept) c.close();
        });
    }

    public static void main(String[] args) {
        mode = args[0];
        List<String> only = Arrays.asList(args).subList(1, args.length);
        for (String name : only.isEmpty() ? USES.keySet() : only) {
            long began = System.nanoTime();
            try {
                USES.get(name).run();
            } catch (Throwable e) {
                System.out.println(name + " FAILED (" + mode + ")");
                e.printStackTrace();
                System.exit(1);
            }
            System.out.println(name + ": " + (System.nanoTime() - began) / 1_000_000 + " ms");
        }
    }
}
