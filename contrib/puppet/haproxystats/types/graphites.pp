# @summary One Graphite or several: host, host:port, [v6]:port or unix:///path.
type Haproxystats::Graphites = Variant[Haproxystats::Host, Array[Haproxystats::Host, 1]]
