#!/bin/sh
# Runs a command whose secrets lie in files: X__FILE=/run/secrets/x gives it X, and whoever looks at the
# container from outside sees the path alone.
set -eu
names=$(awk 'BEGIN { for (name in ENVIRON) if (name ~ /^[A-Z][A-Z0-9_]*__FILE$/) print name }')
for name in $names; do
    eval "file=\$$name"
    if [ ! -r "$file" ]; then
        echo "$name: $file cannot be read by user $(id -u): is the secret there, and readable?" >&2
        exit 1
    fi
    value=$(cat "$file")
    export "${name%__FILE}=$value"
    unset "$name"
done
if [ "${WORDWAVE_LOG_FORMAT:-text}" = json ]; then
    export PREFECT_LOGGING_FORMATTERS_JSON_CLASS=flows.pipeline.runtime.json_logs.JsonFormatter
    export PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER=json PREFECT_LOGGING_HANDLERS_DEBUG_FORMATTER=json
    export PREFECT_LOGGING_COLORS=false
fi
exec "$@"
