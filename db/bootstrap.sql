-- Makes the three roles and closes a database to everyone else. An administrator runs it in the database,
-- before the first migration and after each upgrade; running it again restores what was changed by hand:
--   psql -d wordwave -v owner_password=... -v writer_password=... -v analyst_password=... -f db/bootstrap.sql
-- Where a managed Postgres refuses a step, the others are still made, and `wordwave doctor` names what is open.

DO $$
DECLARE
  role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY['wordwave_owner', 'wordwave_writer', 'wordwave_analyst'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
      EXECUTE format('CREATE ROLE %I', role_name);
    END IF;
  END LOOP;
  EXECUTE format('ALTER DATABASE %I OWNER TO wordwave_owner', current_database());
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO wordwave_writer, wordwave_analyst', current_database());
END
$$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- pgvector, where it is installed, finds similar embeddings by an index. Only an administrator can make it.
DO $$
DECLARE
  place text;
BEGIN
  CREATE SCHEMA IF NOT EXISTS vectors AUTHORIZATION wordwave_owner;
  GRANT USAGE ON SCHEMA vectors TO wordwave_writer, wordwave_analyst;
  IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') THEN
    CREATE EXTENSION IF NOT EXISTS vector SCHEMA vectors;
  END IF;
  SELECT extnamespace::regnamespace::text INTO place FROM pg_extension WHERE extname = 'vector';
  IF place <> 'vectors' THEN
    RAISE WARNING 'embeddings are compared without pgvector, which is in schema %', place
      USING HINT = 'ALTER EXTENSION vector SET SCHEMA vectors';
  END IF;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE WARNING 'embeddings are compared without pgvector: %', SQLERRM;
END
$$;

-- What every role may call, and what a reader could stop the server with: locks without end, transaction ids,
-- large objects and log records that fill the disk. Locks are the flows' business.
DO $$
DECLARE
  dangerous text;
  locks text;
BEGIN
  SELECT string_agg(oid::regprocedure::text, ', '),
    string_agg(oid::regprocedure::text, ', ') FILTER (WHERE proname ~ 'advisory')
  INTO dangerous, locks
  FROM pg_proc
  WHERE pronamespace = 'pg_catalog'::regnamespace
    AND (proname ~ '^(pg_(try_)?advisory_|lo_)' OR proname IN ('loread', 'lowrite', 'txid_current',
      'pg_current_xact_id', 'pg_logical_emit_message', 'pg_export_snapshot', 'pg_notify'));
  EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO wordwave_owner, wordwave_writer', locks);
  EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', dangerous);
EXCEPTION WHEN insufficient_privilege THEN
  RAISE WARNING 'functions stay open to everyone: %', SQLERRM;
END
$$;

-- Every role may connect to these, and make temporary tables there, unless that is revoked.
DO $$
DECLARE
  open_database text;
BEGIN
  FOR open_database IN SELECT datname FROM pg_database WHERE datname IN ('postgres', 'template1') LOOP
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', open_database);
  END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE WARNING 'database % stays open to everyone: %', open_database, SQLERRM;
END
$$;

ALTER ROLE wordwave_owner LOGIN PASSWORD :'owner_password';
ALTER ROLE wordwave_writer LOGIN PASSWORD :'writer_password';
ALTER ROLE wordwave_analyst LOGIN PASSWORD :'analyst_password' CONNECTION LIMIT 20;

-- Who belongs to a role may end its statements: the owner's function does, and can end nobody else's.
GRANT wordwave_analyst TO wordwave_owner;

-- Comfort, not the wall: an analyst can change these, for a session or for good. Walls are what is not granted,
-- the limit of connections, and the function that ends what takes too long.
ALTER ROLE wordwave_analyst RESET ALL;
ALTER ROLE wordwave_analyst SET search_path = analytics;
ALTER ROLE wordwave_analyst SET default_transaction_read_only = on;
ALTER ROLE wordwave_analyst SET statement_timeout = '5min';
ALTER ROLE wordwave_analyst SET work_mem = '64MB';
-- Pages are cached or on SSDs, where random reads cost little more. The other processors are for the flows.
ALTER ROLE wordwave_analyst SET random_page_cost = 1.1;
ALTER ROLE wordwave_analyst SET max_parallel_workers_per_gather = 0;
ALTER ROLE wordwave_analyst SET idle_in_transaction_session_timeout = '5min';

-- This one only an administrator can change. What sorts and joins spill, for each connection.
DO $$
BEGIN
  ALTER ROLE wordwave_analyst SET temp_file_limit = '4GB';
EXCEPTION WHEN insufficient_privilege THEN
  RAISE WARNING 'the temporary files of analysts have no limit: %', SQLERRM;
END
$$;
