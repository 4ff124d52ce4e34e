# Before a removal ($1 = 0), while the programs are still there; an upgrade (1) lets them run.
if [ "$1" -eq 0 ]; then
    systemctl --no-reload disable --now haproxystats-pull.service haproxystats-process.service || :
fi
