# @summary A name of letters, digits, dots, - and _.
type Haproxystats::Name = Pattern[/\A[\w.-]{1,100}\z/]
