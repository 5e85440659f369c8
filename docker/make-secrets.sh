#!/bin/sh
# Draws the passwords and keys of compose.yaml into docker/secrets, once; what is there already stays.
# The folder is closed to other users of this machine. Its files are open to all, since each is mounted for
# containers whose users are not yours, and only for those that need it.
set -eu
folder=$(dirname "$0")/secrets
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

draw() { od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }
keep() { [ -s "$1" ] || printf '%s\n' "$2" >"$1"; }

for name in admin owner writer analyst prefect; do
    keep "${name}_password" "$(draw 24)"
done
keep owner_database_url "postgresql://wordwave_owner:$(cat owner_password)@postgres/wordwave"
keep database_url "postgresql://wordwave_writer:$(cat writer_password)@postgres/wordwave"
keep prefect_database_url "postgresql+asyncpg://prefect:$(cat prefect_password)@postgres/prefect"
keep prefect_auth "wordwave:$(draw 16)"
keep s3_access_key "$(draw 10)"
keep s3_secret_key "$(draw 24)"
keep s3_credentials "[default]
aws_access_key_id = $(cat s3_access_key)
aws_secret_access_key = $(cat s3_secret_key)"
keep s3_identities "{\"identities\": [{\"name\": \"wordwave\", \"actions\": [\"Admin\", \"Read\", \"Write\", \"List\"],
  \"credentials\": [{\"accessKey\": \"$(cat s3_access_key)\", \"secretKey\": \"$(cat s3_secret_key)\"}]}]}"
chmod 644 ./*
echo "$(ls | wc -l) secrets in $(pwd)" >&2
