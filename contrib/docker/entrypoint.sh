#!/bin/sh
# What the image runs:
#
#   pull [ARGUMENT ...]      haproxystats-pull, in place of this script
#   process [ARGUMENT ...]   haproxystats-process, likewise
#   all [ARGUMENT ...]       both, with the same arguments
#   anything else            that command
#
# With `all` this script is the parent of both. It hands SIGTERM, SIGINT and SIGHUP on to them, so that each ends in
# order. When one of the two ends by itself the other is ended, too, and the container fails: the restart policy has the
# word then, and no half of the road is missing unseen.
set -u

case ${1:-all} in
pull | process)
    program=haproxystats-$1
    shift
    exec "$program" "$@"
    ;;
all)
    [ $# -eq 0 ] || shift
    ;;
*)
    exec "$@"
    ;;
esac

pull=
process=
asked=
nap=

# A signal that comes before a program has begun is made up for below.
hand_on() {
    asked=yes
    # shellcheck disable=SC2086 # an empty name stands for a program that has not begun
    kill -TERM $pull $process $nap 2>/dev/null
}

trap hand_on TERM INT HUP
haproxystats-pull "$@" &
pull=$!
haproxystats-process "$@" &
process=$!
[ -z "$asked" ] || hand_on

# A portable shell cannot wait for whichever ends first, so it looks once a second. The wait for the nap also takes
# notice of a program that has ended, and a signal ends it at once.
while kill -0 "$pull" 2>/dev/null && kill -0 "$process" 2>/dev/null; do
    sleep 1 &
    nap=$!
    wait "$nap"
done
nap=
[ -n "$asked" ] || kill -TERM "$pull" "$process" 2>/dev/null

# A signal interrupts a wait before the program has ended; then there is a second one to wait for.
status_of() {
    wait "$1"
    status=$?
    while kill -0 "$1" 2>/dev/null; do
        wait "$1"
        status=$?
    done
    return "$status"
}

result=0
for program in "$pull" "$process"; do
    status_of "$program" || result=$?
done
# An end that nobody asked the container for is a failure, however clean.
[ -n "$asked" ] || [ "$result" -ne 0 ] || result=2
exit "$result"
