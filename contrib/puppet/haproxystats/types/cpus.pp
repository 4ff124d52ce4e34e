# @summary Where a program may run: on the last CPUs, on any, or on those that are named.
type Haproxystats::Cpus = Variant[Enum['last', 'any'], Array[Integer[0], 1]]
