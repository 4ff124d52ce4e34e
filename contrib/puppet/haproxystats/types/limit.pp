# @summary Seconds, more than 0.
type Haproxystats::Limit = Variant[Integer[1, 1000000000], Float[0.001, 1000000000.0]]
