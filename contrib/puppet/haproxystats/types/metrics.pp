# @summary Names of HAProxy's columns; all of them; or all of them but some, as in ['all', '-scur'].
type Haproxystats::Metrics = Variant[Enum['all'], Array[Pattern[/\A-?[A-Za-z0-9][\w.-]*\z/], 1]]
