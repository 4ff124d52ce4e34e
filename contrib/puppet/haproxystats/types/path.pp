# @summary An absolute path, or one that begins with a reference such as ${paths:base-dir}.
type Haproxystats::Path = Pattern[/\A(\/|\$\{)[^[:cntrl:]]*\z/]
