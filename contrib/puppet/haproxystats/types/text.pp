# @summary A text without control characters, such as the name of a database.
type Haproxystats::Text = Pattern[/\A[^[:cntrl:]]+\z/]
