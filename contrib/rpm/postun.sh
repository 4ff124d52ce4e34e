# After a removal ($1 = 0) or an upgrade (1 or more): what runs is started anew, with the files of the new version.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -ge 1 ]; then
        systemctl try-restart haproxystats-pull.service haproxystats-process.service || :
    fi
fi
