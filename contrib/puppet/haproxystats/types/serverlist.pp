# @summary One Graphite or several: host, host:port, [v6]:port or unix:///path.
type Haproxystats::ServerList = Variant[Pattern[/\A[^[:cntrl:]]+\z/], Array[Pattern[/\A[^,[:cntrl:]]+\z/], 1]]
