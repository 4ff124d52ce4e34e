# @summary The programs and their user.
#
# @api private
class haproxystats::install {
  if $haproxystats::manage_user {
    $groups = [$haproxystats::group, $haproxystats::socket_group].unique
    group { $groups:
      ensure => present,
      system => true,
    }
    user { $haproxystats::user:
      ensure     => present,
      system     => true,
      gid        => $haproxystats::group,
      home       => '/var/lib/haproxystats',
      managehome => false,
      shell      => '/usr/sbin/nologin',
      comment    => 'haproxystats',
    }
  }

  case $haproxystats::install {
    'package': {
      # A repository's provider cannot take a file on every system; that of single packages can.
      $provider = $haproxystats::package_source ? {
        undef   => undef,
        default => $facts['os']['family'] ? {
          'Debian' => 'dpkg',
          default  => 'rpm',
        },
      }
      package { $haproxystats::package_name:
        ensure   => $haproxystats::package_ensure,
        source   => $haproxystats::package_source,
        provider => $provider,
      }
    }
    'files': {
      $haproxystats::programs.unique.each |$program| {
        file { "${haproxystats::bin_directory}/haproxystats-${program}":
          ensure => file,
          source => "${haproxystats::files_source}/haproxystats-${program}",
          mode   => '0755',
        }
        file { "${haproxystats::unit_directory}/haproxystats-${program}.service":
          ensure => file,
          source => "${haproxystats::files_source}/haproxystats-${program}.service",
          mode   => '0644',
        }
      }
    }
    default: {}
  }
}
