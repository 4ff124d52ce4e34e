# @summary A host's name or address, without a port.
type Haproxystats::Host = Pattern[/\A[^\s[:cntrl:]]+\z/]
