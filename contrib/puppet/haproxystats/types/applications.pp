# @summary Applications of uWSGI: addresses, each with NAME= before it or not, and patterns of paths, with commas between.
type Haproxystats::Applications = Pattern[/\A[^,[:cntrl:]]+(, *[^,[:cntrl:]]+)*\z/]
