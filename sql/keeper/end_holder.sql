-- Ends the session that holds an advisory lock, and with it the lock. Answers with a row where there was one.
-- $1 class  $2 partition  $3 only if that session has been silent for so many seconds; null: in any case
SELECT pg_terminate_backend(l.pid)
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.classid = $1::int4::oid AND l.objid = $2::int4::oid AND l.objsubid = 2 AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.pid <> pg_backend_pid()
  AND ($3::float8 IS NULL OR a.state_change < clock_timestamp() - make_interval(secs => $3::float8))
