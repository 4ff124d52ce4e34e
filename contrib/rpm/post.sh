# After an installation ($1 = 1) or an upgrade (2): the user, the state directory, systemd's view of the units. Neither
# unit is started or enabled unasked; presets have the word.
systemd-sysusers haproxystats.conf || :
systemd-tmpfiles --create haproxystats.conf || :
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
if [ "$1" -eq 1 ]; then
    systemctl --no-reload preset haproxystats-pull.service haproxystats-process.service || :
fi
