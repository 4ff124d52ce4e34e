# @summary haproxystats-process: its drop-in and its service.
#
# @api private
class haproxystats::process {
  # Without a value the program starts four workers.
  $workers = $haproxystats::process_workers ? {
    undef   => 4,
    default => $haproxystats::process_workers,
  }
  # The program ends within 6 seconds and these two limits of the slowest receiver; the unit allows 30.
  $limits = [
    [$haproxystats::graphite_connect_timeout, $haproxystats::graphite_write_timeout],
    [$haproxystats::influxdb_connect_timeout, $haproxystats::influxdb_write_timeout],
  ].map |$pair| {
    $seconds = $pair.map |$limit| { $limit ? { undef => 1, default => $limit } }
    $seconds[0] + $seconds[1]
  }
  $stop_seconds = 16 + ceiling(max(*$limits))
  $settings = $stop_seconds > 30 ? {
    true    => ["TimeoutStopSec=${stop_seconds}s"],
    default => [],
  }
  haproxystats::program { 'haproxystats-process':
    wanted_cpus => $workers,
    cpus        => $haproxystats::cpus_process,
    settings    => $settings,
  }
}
