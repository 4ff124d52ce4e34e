# @summary A host's name.
type Haproxystats::HostName = Pattern[/\A[[:alnum:]._-]{1,255}\z/]
