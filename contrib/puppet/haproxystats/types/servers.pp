# @summary Stats sockets by name: unix:///path or tcp://host:port.
type Haproxystats::Servers = Array[Pattern[/\Aunix:\/\/\/[^,[:cntrl:]]+\z/, /\Atcp:\/\/[^\s,]+:\d+\z/], 1]
