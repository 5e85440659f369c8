-- Postgres runs this once, on an empty volume: our database with its three roles, and one for Prefect.
\set owner_password `cat /run/secrets/owner_password`
\set writer_password `cat /run/secrets/writer_password`
\set analyst_password `cat /run/secrets/analyst_password`
\set prefect_password `cat /run/secrets/prefect_password`

CREATE DATABASE wordwave;
CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
CREATE DATABASE prefect OWNER prefect;
REVOKE ALL ON DATABASE prefect FROM PUBLIC;

\connect wordwave
\ir /opt/bootstrap.sql
