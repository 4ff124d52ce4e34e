# @summary haproxystats-pull: its drop-in and its service.
#
# @api private
class haproxystats::pull {
  haproxystats::program { 'haproxystats-pull':
    wanted_cpus => 1,
    cpus        => $haproxystats::cpus_pull,
    settings    => ['SupplementaryGroups=', "SupplementaryGroups=${haproxystats::socket_group}"],
  }
}
