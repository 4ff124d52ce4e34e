# @summary What both programs need: a drop-in for the unit, and the service.
#
# Puppet calls `systemctl daemon-reload` by itself before it starts or restarts a service whose unit has changed.
#
# @api private
#
# @param cpus
#   Where it may run.
# @param wanted_cpus
#   How many CPUs it can use.
# @param settings
#   Further lines of the drop-in's section [Service].
define haproxystats::program (
  Haproxystats::Cpus $cpus,
  Integer[1]         $wanted_cpus,
  Array[String[1]]   $settings,
) {
  $numbers = $cpus ? {
    'last'  => haproxystats::last_cpus($facts['processors']['count'], $wanted_cpus),
    'any'   => [],
    default => $cpus,
  }

  $drop_ins = "${haproxystats::unit_directory}/${title}.service.d"
  file { $drop_ins:
    ensure => directory,
    mode   => '0755',
  }
  file { "${drop_ins}/puppet.conf":
    ensure  => file,
    mode    => '0644',
    content => epp('haproxystats/drop-in.conf.epp', {
        'command'  => "${haproxystats::bin_directory}/${title}",
        'file'     => $haproxystats::config_file,
        'folder'   => $haproxystats::config_directory,
        'user'     => $haproxystats::user,
        'group'    => $haproxystats::group,
        'cpus'     => $numbers,
        'writable' => $haproxystats::config::writable,
        'settings' => $settings,
    }),
  }

  if $haproxystats::manage_services {
    service { $title:
      ensure    => $haproxystats::service_ensure,
      enable    => $haproxystats::service_enable,
      subscribe => File["${drop_ins}/puppet.conf"],
    }
  }
}
