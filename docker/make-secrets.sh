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

for name in admin owner writer analyst prefect redis grafana; do
    keep "${name}_password" "$(draw 24)"
done
keep owner_database_url "postgresql://wordwave_owner:$(cat owner_password)@postgres/wordwave"
keep database_url "postgresql://wordwave_writer:$(cat writer_password)@postgres/wordwave"
keep analyst_database_url "postgresql://wordwave_analyst:$(cat analyst_password)@postgres/wordwave"
keep prefect_database_url "postgresql+asyncpg://prefect:$(cat prefect_password)@postgres/prefect"
keep prefect_auth "wordwave:$(draw 16)"
keep forget_key "$(draw 32)"
keep redis_config "appendonly yes
requirepass $(cat redis_password)"
keep redis_messaging_url "redis://:$(cat redis_password)@redis:6379/0"
keep redis_docket_url "redis://:$(cat redis_password)@redis:6379/1"

# An identity of S3: its keys, the file that boto3 reads, and what it may do, for the server's own list.
identity() {
    keep "s3${2}_access_key" "$(draw 10)"
    keep "s3${2}_secret_key" "$(draw 24)"
    keep "s3${2}_credentials" "[default]
aws_access_key_id = $(cat "s3${2}_access_key")
aws_secret_access_key = $(cat "s3${2}_secret_key")"
    printf '{"name": "%s", "actions": [%s], "credentials": [{"accessKey": "%s", "secretKey": "%s"}]}' \
        "$1" "$3" "$(cat "s3${2}_access_key")" "$(cat "s3${2}_secret_key")"
}
chosen() {
    value=$(sed -n "s/^$1=//p" ../.env 2>/dev/null || true)
    printf '%s' "${value:-$2}"
}
clips=$(chosen CLIPS_BUCKET clips)
results=$(chosen RESULTS_BUCKET results)

# The workers read clips and write results, and can do nothing else; whoever brings clips is the administrator.
# Written again each time, since the buckets may have new names.
administrator=$(identity administrator _admin '"Admin", "Read", "Write", "List"')
workers=$(identity workers "" "\"Read:$clips\", \"List:$clips\", \"Read:$results\", \"List:$results\", \"Write:$results\"")
printf '{"identities": [%s,\n%s]}\n' "$administrator" "$workers" >s3_identities
chmod 644 ./*
echo "$(ls | wc -l) secrets in $(pwd)" >&2
