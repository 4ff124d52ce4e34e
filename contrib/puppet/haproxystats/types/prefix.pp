# @summary Parts of a metric's path with dots between.
type Haproxystats::Prefix = Pattern[/\A[^\s.[:cntrl:]]+(\.[^\s.[:cntrl:]]+)*\z/]
