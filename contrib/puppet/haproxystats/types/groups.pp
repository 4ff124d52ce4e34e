# @summary Groups: a name, and the regular expression that is searched in a proxy's name.
type Haproxystats::Groups = Hash[Pattern[/\A[^\s=:#;\[\]]+\z/], Pattern[/\A\S([^[:cntrl:]]*\S)?\z/], 1]
