-- Makes the three roles and closes a database to everyone else. An administrator runs it in the database,
-- before the first migration; running it again changes nothing but the passwords:
--   psql -d wordwave -v owner_password=... -v writer_password=... -v analyst_password=... -f db/bootstrap.sql

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

ALTER ROLE wordwave_owner LOGIN PASSWORD :'owner_password';
ALTER ROLE wordwave_writer LOGIN PASSWORD :'writer_password';
ALTER ROLE wordwave_analyst LOGIN PASSWORD :'analyst_password';

-- Comfort, not the wall: an analyst can change these in a session. The wall is what is not granted.
ALTER ROLE wordwave_analyst SET search_path = analytics;
ALTER ROLE wordwave_analyst SET default_transaction_read_only = on;
ALTER ROLE wordwave_analyst SET statement_timeout = '5min';
