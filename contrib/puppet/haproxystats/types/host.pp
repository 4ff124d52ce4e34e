# @summary The place of a server: host, host:port, [v6]:port or unix:///path.
type Haproxystats::Host = Pattern[/\A[^\s[:cntrl:]]+\z/]
