#!/bin/sh
# Prints the secrets that the manifests name, made of docker/secrets; `trial` adds those of the overlay:
#   docker/kubernetes/secrets.sh | kubectl --namespace wordwave apply --filename -
set -eu
cd "$(dirname "$0")/../secrets"
umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Without the newline at the end of a file: a variable that is made from a secret would keep it.
secret() {
    name=$1
    shift
    mkdir "$folder/$name"
    for key; do
        printf %s "$(cat "$key")" >"$folder/$name/$key"
    done
    echo ---
    kubectl create secret generic "$name" --from-file="$folder/$name" --dry-run=client --output yaml
}

secret wordwave database_url s3_credentials forget_key
secret owner owner_database_url
secret prefect prefect_auth
secret prefect-server prefect_database_url redis_messaging_url redis_docket_url
secret redis redis_config
if [ "${1:-}" = trial ]; then
    secret postgres admin_password owner_password writer_password analyst_password prefect_password
    secret s3 s3_identities
    secret s3-admin s3_admin_credentials
fi
