# @summary How much a program logs.
type Haproxystats::Loglevel = Enum['debug', 'info', 'warning', 'error', 'critical']
