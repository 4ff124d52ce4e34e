# @summary Names of HAProxy's columns, or all of them.
type Haproxystats::Metrics = Variant[Enum['all'], Array[Pattern[/\A\w+\z/], 1]]
