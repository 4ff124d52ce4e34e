# @summary The configuration file, and the directories that the programs write in.
#
# @api private
class haproxystats::config {
  # A list is one value in the file, and its form depends on the option.
  $servers = $haproxystats::pull_servers ? {
    undef   => undef,
    default => $haproxystats::pull_servers.join(",\n    "),
  }
  $masters = $haproxystats::pull_masters ? {
    undef   => undef,
    default => $haproxystats::pull_masters.join(",\n    "),
  }
  $graphite_server = $haproxystats::graphite_server ? {
    Array   => $haproxystats::graphite_server.join(', '),
    default => $haproxystats::graphite_server,
  }
  $metrics = ['frontend', 'backend', 'server', 'daemon'].reduce({}) |$lists, $kind| {
    $list = getvar("haproxystats::process_${kind}_metrics")
    $lists + { $kind => $list ? { Array => $list.join(' '), default => $list } }
  }
  # In the file a dollar begins a reference, and a regular expression holds none.
  $groups = ['frontend', 'backend', 'server'].reduce({}) |$sections, $kind| {
    $section = getvar("haproxystats::${kind}_groups")
    $sections + { $kind => $section ? {
        undef   => {},
        default => $section.reduce({}) |$all, $one| { $all + { $one[0] => regsubst($one[1], '\$', '$$', 'G') } },
    } }
  }

  $options = {
    'DEFAULT' => {
      'loglevel' => $haproxystats::default_loglevel,
      'retries'  => $haproxystats::default_retries,
      'timeout'  => $haproxystats::default_timeout,
      'interval' => $haproxystats::default_interval,
    },
    'paths' => {
      'base-dir' => $haproxystats::paths_base_dir,
    },
    'pull' => {
      'loglevel'         => $haproxystats::pull_loglevel,
      'host-name'        => $haproxystats::pull_host_name,
      'socket-dir'       => $haproxystats::pull_socket_dir,
      'servers'          => $servers,
      'masters'          => $masters,
      'old-workers'      => $haproxystats::pull_old_workers,
      'servers-interval' => $haproxystats::pull_servers_interval,
      'retries'          => $haproxystats::pull_retries,
      'timeout'          => $haproxystats::pull_timeout,
      'interval'         => $haproxystats::pull_interval,
      'pull-timeout'     => $haproxystats::pull_pull_timeout,
      'pull-interval'    => $haproxystats::pull_pull_interval,
      'buffer-limit'     => $haproxystats::pull_buffer_limit,
      'answer-limit'     => $haproxystats::pull_answer_limit,
      'dst-dir'          => $haproxystats::pull_dst_dir,
      'tmp-dst-dir'      => $haproxystats::pull_tmp_dst_dir,
      'workers'          => $haproxystats::pull_workers,
      'queue-size'       => $haproxystats::pull_queue_size,
      'sync'             => $haproxystats::pull_sync,
      'allow-partial'    => $haproxystats::pull_allow_partial,
      'monitor-listen'   => $haproxystats::pull_monitor_listen,
    },
    'uwsgi' => {
      'servers'       => $haproxystats::uwsgi_servers,
      'allow-partial' => $haproxystats::uwsgi_allow_partial,
    },
    'zope' => {
      'servers'           => $haproxystats::zope_servers,
      'deployments'       => $haproxystats::zope_deployments,
      'database'          => $haproxystats::zope_database,
      'sampling-interval' => $haproxystats::zope_sampling_interval,
      'allow-partial'     => $haproxystats::zope_allow_partial,
    },
    'process' => {
      'loglevel'                => $haproxystats::process_loglevel,
      'src-dir'                 => $haproxystats::process_src_dir,
      'workers'                 => $haproxystats::process_workers,
      'frontend-metrics'        => $metrics['frontend'],
      'backend-metrics'         => $metrics['backend'],
      'server-metrics'          => $metrics['server'],
      'daemon-metrics'          => $metrics['daemon'],
      'aggr-server-metrics'     => $haproxystats::process_aggr_server_metrics,
      'max-servers-per-backend' => $haproxystats::process_max_servers_per_backend,
      'exclude-frontends'       => $haproxystats::process_exclude_frontends,
      'exclude-backends'        => $haproxystats::process_exclude_backends,
      'per-process-metrics'     => $haproxystats::process_per_process_metrics,
      'calculate-percentages'   => $haproxystats::process_calculate_percentages,
      'server-states'           => $haproxystats::process_server_states,
      'hide-maint'              => $haproxystats::process_hide_maint,
      'liveness-check-interval' => $haproxystats::process_liveness_check_interval,
      'job-timeout'             => $haproxystats::process_job_timeout,
      'file-limit'              => $haproxystats::process_file_limit,
      'partial-input'           => $haproxystats::process_partial_input,
      'failed-dir'              => $haproxystats::process_failed_dir,
      'failed-limit'            => $haproxystats::process_failed_limit,
      'outbox-dir'              => $haproxystats::process_outbox_dir,
      'monitor-listen'          => $haproxystats::process_monitor_listen,
    },
    'graphite' => {
      'enabled'                       => $haproxystats::graphite_enabled,
      'server'                        => $graphite_server,
      'port'                          => $haproxystats::graphite_port,
      'cluster'                       => $haproxystats::graphite_cluster,
      'retries'                       => $haproxystats::graphite_retries,
      'interval'                      => $haproxystats::graphite_interval,
      'backoff'                       => $haproxystats::graphite_backoff,
      'connect-timeout'               => $haproxystats::graphite_connect_timeout,
      'write-timeout'                 => $haproxystats::graphite_write_timeout,
      'delay'                         => $haproxystats::graphite_delay,
      'confirm'                       => $haproxystats::graphite_confirm,
      'confirm-timeout'               => $haproxystats::graphite_confirm_timeout,
      'namespace'                     => $haproxystats::graphite_namespace,
      'prefix-hostname'               => $haproxystats::graphite_prefix_hostname,
      'fqdn'                          => $haproxystats::graphite_fqdn,
      'tags'                          => $haproxystats::graphite_tags,
      'max-line'                      => $haproxystats::graphite_max_line,
      'tls'                           => $haproxystats::graphite_tls,
      'ca-file'                       => $haproxystats::graphite_ca_file,
      'certificate'                   => $haproxystats::graphite_certificate,
      'key'                           => $haproxystats::graphite_key,
      'server-name'                   => $haproxystats::graphite_server_name,
      'outbox-size'                   => $haproxystats::graphite_outbox_size,
      'outbox-sync'                   => $haproxystats::graphite_outbox_sync,
      'replay-rate'                   => $haproxystats::graphite_replay_rate,
      'queue-size'                    => $haproxystats::graphite_queue_size,
      'groups'                        => $haproxystats::graphite_groups,
      'group-namespace'               => $haproxystats::graphite_group_namespace,
      'group-namespace-double-writes' => $haproxystats::graphite_group_namespace_double_writes,
    },
    'frontend-groups' => $groups['frontend'],
    'backend-groups'  => $groups['backend'],
    'server-groups'   => $groups['server'],
    'influxdb' => {
      'enabled'          => $haproxystats::influxdb_enabled,
      'url'              => $haproxystats::influxdb_url,
      'api'              => $haproxystats::influxdb_api,
      'database'         => $haproxystats::influxdb_database,
      'username'         => $haproxystats::influxdb_username,
      'password-file'    => $haproxystats::influxdb_password_file,
      'retention-policy' => $haproxystats::influxdb_retention_policy,
      'create-database'  => $haproxystats::influxdb_create_database,
      'org'              => $haproxystats::influxdb_org,
      'bucket'           => $haproxystats::influxdb_bucket,
      'token-file'       => $haproxystats::influxdb_token_file,
      'tags'             => $haproxystats::influxdb_tags,
      'keep-field-names' => $haproxystats::influxdb_keep_field_names,
      'groups'           => $haproxystats::influxdb_groups,
      'gzip'             => $haproxystats::influxdb_gzip,
      'batch-points'     => $haproxystats::influxdb_batch_points,
      'connect-timeout'  => $haproxystats::influxdb_connect_timeout,
      'write-timeout'    => $haproxystats::influxdb_write_timeout,
      'timeout'          => $haproxystats::influxdb_timeout,
      'ca-file'          => $haproxystats::influxdb_ca_file,
      'certificate'      => $haproxystats::influxdb_certificate,
      'key'              => $haproxystats::influxdb_key,
      'server-name'      => $haproxystats::influxdb_server_name,
      'retries'          => $haproxystats::influxdb_retries,
      'interval'         => $haproxystats::influxdb_interval,
      'backoff'          => $haproxystats::influxdb_backoff,
      'delay'            => $haproxystats::influxdb_delay,
      'outbox-size'      => $haproxystats::influxdb_outbox_size,
      'queue-size'       => $haproxystats::influxdb_queue_size,
      'outbox-sync'      => $haproxystats::influxdb_outbox_sync,
      'replay-rate'      => $haproxystats::influxdb_replay_rate,
    },
    'kafka' => {
      'enabled'            => $haproxystats::kafka_enabled,
      'brokers'            => $haproxystats::kafka_brokers,
      'topic'              => $haproxystats::kafka_topic,
      'format'             => $haproxystats::kafka_format,
      'lines'              => $haproxystats::kafka_lines,
      'message-size'       => $haproxystats::kafka_message_size,
      'key'                => $haproxystats::kafka_key,
      'compression'        => $haproxystats::kafka_compression,
      'security-protocol'  => $haproxystats::kafka_security_protocol,
      'sasl-mechanism'     => $haproxystats::kafka_sasl_mechanism,
      'sasl-username'      => $haproxystats::kafka_sasl_username,
      'sasl-password-file' => $haproxystats::kafka_sasl_password_file,
      'connect-timeout'    => $haproxystats::kafka_connect_timeout,
      'write-timeout'      => $haproxystats::kafka_write_timeout,
      'confirm-timeout'    => $haproxystats::kafka_confirm_timeout,
      'namespace'          => $haproxystats::kafka_namespace,
      'prefix-hostname'    => $haproxystats::kafka_prefix_hostname,
      'fqdn'               => $haproxystats::kafka_fqdn,
      'ca-file'            => $haproxystats::kafka_ca_file,
      'certificate'        => $haproxystats::kafka_certificate,
      'certificate-key'    => $haproxystats::kafka_certificate_key,
      'retries'            => $haproxystats::kafka_retries,
      'interval'           => $haproxystats::kafka_interval,
      'backoff'            => $haproxystats::kafka_backoff,
      'delay'              => $haproxystats::kafka_delay,
      'outbox-size'        => $haproxystats::kafka_outbox_size,
      'queue-size'         => $haproxystats::kafka_queue_size,
      'outbox-sync'        => $haproxystats::kafka_outbox_sync,
      'replay-rate'        => $haproxystats::kafka_replay_rate,
    },
    'local-store' => {
      'enabled'     => $haproxystats::local_store_enabled,
      'retries'     => $haproxystats::local_store_retries,
      'interval'    => $haproxystats::local_store_interval,
      'backoff'     => $haproxystats::local_store_backoff,
      'delay'       => $haproxystats::local_store_delay,
      'outbox-size' => $haproxystats::local_store_outbox_size,
      'queue-size'  => $haproxystats::local_store_queue_size,
      'outbox-sync' => $haproxystats::local_store_outbox_sync,
      'replay-rate' => $haproxystats::local_store_replay_rate,
      'dir'         => $haproxystats::local_store_dir,
      'retention'   => $haproxystats::local_store_retention,
    },
  }
  $sections = $options.reduce({}) |$sections, $section| {
    $set = $section[1].filter |$option, $value| { $value =~ NotUndef }
    $wanted = $section[0] ? {
      'local-store' => $haproxystats::local_store,
      default       => !$set.empty,
    }
    $wanted ? {
      true    => $sections + { $section[0] => $set },
      default => $sections,
    }
  }

  # Both programs check the whole file; the one that is here does it.
  $checker = "${haproxystats::bin_directory}/haproxystats-${haproxystats::programs[-1]}"
  file { $haproxystats::config_file:
    ensure       => file,
    owner        => $haproxystats::config_owner,
    group        => $haproxystats::config_group,
    mode         => '0644',
    content      => epp('haproxystats/haproxystats.conf.epp', { 'sections' => $sections }),
    validate_cmd => "${checker} -P -f %",
  }
  file { $haproxystats::config_directory:
    ensure => directory,
    owner  => $haproxystats::config_owner,
    group  => $haproxystats::config_group,
    mode   => '0755',
  }

  # What systemd makes itself (StateDirectory of the units) is not ours.
  $base = $haproxystats::paths_base_dir ? {
    Pattern[/\A\/[^\s%"'$]*\z/] => [$haproxystats::paths_base_dir],
    default                     => [],
  }
  $writable = ($haproxystats::state_directories + $base).unique - ['/var/lib/haproxystats']
  file { $writable:
    ensure => directory,
    owner  => $haproxystats::user,
    group  => $haproxystats::group,
    mode   => '0750',
  }
}
