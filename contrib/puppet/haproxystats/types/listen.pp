# @summary An address to listen on: address:port, [v6]:port or unix:///path.
type Haproxystats::Listen = Pattern[/\A(unix:\/\/\/[^[:cntrl:]]+|[^\s\/[:cntrl:]]+:\d+)\z/]
