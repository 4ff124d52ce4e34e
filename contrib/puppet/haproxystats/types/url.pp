# @summary The URL of a server, without a user.
type Haproxystats::Url = Pattern[/\Ahttps?:\/\/[^\s@[:cntrl:]]+\z/]
