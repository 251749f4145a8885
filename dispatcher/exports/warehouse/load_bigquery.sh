#!/bin/sh
# Load the files of this directory into BigQuery, each day into its partition of one table, in place of what is there.
#
#   sh load.sh DATASET            as project:dataset, or dataset of the project that bq is set to
#   PRUNE=1 sh load.sh DATASET    and remove the partitions of days that were loaded once and have no file any more
#
# It needs bq, of the Google Cloud CLI. Run again it loads what is new or has changed. _loaded remembers that, a line
# "DAY DIGEST" for each load. A job's id is made of both and of how often the day was tried, so that a job whose answer
# was lost is found again and not repeated.
set -eu
cd "$(dirname "$0")"
table="${1:?name the dataset: sh load.sh DATASET}.tracking_log"
touch _loaded

load() { # DAY FILE DIGEST
    last=$(grep "^$1 " _loaded | tail -n 1 || true)
    [ "$last" = "$1 $3" ] && return
    for _ in 1 2 3; do
        job="dispatcher_tracking_log_$1_$3_$(grep -c "^$1 " _loaded || true)"
        if bq load --job_id="$job" --replace --source_format=NEWLINE_DELIMITED_JSON "$table\$$1" "$2" schema.json ||
            bq wait --fail_on_error "$job"; then
            echo "$1 $3" >>_loaded
            return
        fi
        echo "$1 failed" >>_loaded
    done
    echo "$2 could not be loaded: see the job $job" >&2
    exit 1
}

bq show "$table" >/dev/null 2>&1 || bq mk --table --time_partitioning_type=DAY --time_partitioning_field=time \
    --clustering_fields=course_id,event_type "$table" schema.json

days=""
while read -r day file digest; do
    # bq reads from standard input, which has the list.
    load "$day" "$file" "$digest" </dev/null
    days="$days $day "
done <<LIST
@FILES@
LIST

[ "${PRUNE:-}" = 1 ] || exit 0
cut -d " " -f 1 _loaded | sort -u | while read -r day; do
    case "$days" in *" $day "*) continue ;; esac
    [ "$(grep "^$day " _loaded | tail -n 1)" = "$day removed" ] && continue
    bq rm --force --table "$table\$$day" </dev/null
    echo "$day removed" >>_loaded
done
