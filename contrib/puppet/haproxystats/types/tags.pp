# @summary Tags with commas between: NAME=VALUE.
type Haproxystats::Tags = Pattern[/\A[^,=[:cntrl:]]+=[^,=[:cntrl:]]+(,[^,=[:cntrl:]]+=[^,=[:cntrl:]]+)*\z/]
