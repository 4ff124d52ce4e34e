# @summary A factor from one pause to the next.
type Haproxystats::Factor = Variant[Integer[1, 1000], Float[1.0, 1000.0]]
