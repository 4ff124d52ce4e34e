# @summary Seconds, 0 too.
type Haproxystats::Pause = Variant[Integer[0, 1000000000], Float[0.0, 1000000000.0]]
