# @summary haproxystats: the programs, their configuration, and where they run.
#
# Every option of the configuration file is a parameter, named `<section>_<option>`. One that is not set is not written,
# so that the program's own default holds. docs/configuration.md of haproxystats says what each one does.
#
# A path may hold references such as `${paths:base-dir}/incoming` (in single quotes, or Puppet takes them for its own).
# In groups a dollar is written once; the module doubles it for the file.
#
# @example One machine: HAProxy's sockets in a folder, a Graphite elsewhere
#   class { 'haproxystats':
#     pull_socket_dir => '/run/haproxy',
#     graphite_server => 'graphite.example.com',
#     graphite_port   => 2003,
#   }
#
# @param programs
#   Which of the two programs run here. One that is not named is left as it is.
# @param install
#   Where the programs come from: `package`; `files`, copied from `files_source`; or `none`, when something else brings
#   them.
# @param package_name
#   The package's name.
# @param package_ensure
#   As `ensure` of a package: a version, or a word.
# @param package_source
#   A .deb or .rpm on the machine itself, for where no repository has the package.
# @param files_source
#   For `install => 'files'`: where both programs and both units are, in any form that `source` of a file takes.
# @param bin_directory
#   Where the programs are.
# @param unit_directory
#   Where units and drop-ins are written.
# @param manage_user
#   Whether user and groups are made. The package makes them by itself.
# @param user
#   Who runs the programs, as the units say; it owns the state directories.
# @param group
#   Its group.
# @param socket_group
#   The group that may open HAProxy's stats sockets; haproxystats-pull runs with it.
# @param config_file
#   The configuration file. It is checked by the program before it replaces the one that is there.
# @param config_directory
#   A folder for further files, read after `config_file` in the order of their names (`*.conf`). It is made, and what is
#   in it is left alone.
# @param config_owner
#   Who owns both.
# @param config_group
#   Their group.
# @param state_directories
#   Directories beside `/var/lib/haproxystats` where the programs write. They are made, and opened in the units'
#   sandbox. An absolute `paths_base_dir` is added by itself. `dst-dir` and `tmp-dst-dir` must lie in the same one: each
#   is a mount of its own in the sandbox, and a rename cannot cross it.
# @param cpus_pull
#   Where haproxystats-pull runs; `last` is the last CPU.
# @param cpus_process
#   Where haproxystats-process runs; `last` are the last CPUs, one for each worker, yet no more than the last fifth. Pin
#   HAProxy to the others.
# @param manage_services
#   Whether services are enabled and started, and restarted when something changes. `false` is for building images.
# @param service_ensure
#   As `ensure` of a service.
# @param service_enable
#   Whether they start at boot.
# @param default_loglevel
#   `[DEFAULT] loglevel`: how much is logged.
# @param default_retries
#   `[DEFAULT] retries`: no effect: every section has a default of its own; serves references such as ${DEFAULT:retries}.
# @param default_timeout
#   `[DEFAULT] timeout`: no effect, as above.
# @param default_interval
#   `[DEFAULT] interval`: no effect, as above.
# @param paths_base_dir
#   `[paths] base-dir`: for references such as ${paths:base-dir}/incoming.
# @param pull_loglevel
#   `[pull] loglevel`: how much haproxystats-pull logs.
# @param pull_host_name
#   `[pull] host-name`: the name that stands for this machine in every receiver; unset: the machine's own.
# @param pull_socket_dir
#   `[pull] socket-dir`: a folder: every UNIX socket in it is asked.
# @param pull_servers
#   `[pull] servers`: stats sockets by name.
# @param pull_masters
#   `[pull] masters`: master CLIs of HAProxy: each worker behind them is asked, old ones after a reload too.
# @param pull_old_workers
#   `[pull] old-workers`: ask the workers from before a reload too, through a master CLI.
# @param pull_servers_interval
#   `[pull] servers-interval`: ask for servers in each such cycle only, for frontends and backends in all.
# @param pull_retries
#   `[pull] retries`: further tries to connect.
# @param pull_timeout
#   `[pull] timeout`: limit of one try to connect.
# @param pull_interval
#   `[pull] interval`: pause between two tries.
# @param pull_pull_timeout
#   `[pull] pull-timeout`: limit of a whole cycle; 0 is no limit.
# @param pull_pull_interval
#   `[pull] pull-interval`: seconds between the starts of two cycles.
# @param pull_buffer_limit
#   `[pull] buffer-limit`: no effect: an answer is read in pieces of up to 64 KiB.
# @param pull_answer_limit
#   `[pull] answer-limit`: bytes that one answer may have.
# @param pull_dst_dir
#   `[pull] dst-dir`: where snapshots are published.
# @param pull_tmp_dst_dir
#   `[pull] tmp-dst-dir`: where snapshots are staged.
# @param pull_workers
#   `[pull] workers`: threads that read answers and write files.
# @param pull_queue_size
#   `[pull] queue-size`: no cycle while so many snapshots wait in dst-dir.
# @param pull_sync
#   `[pull] sync`: sync a snapshot to the disk before it is published.
# @param pull_allow_partial
#   `[pull] allow-partial`: publish what answered, even if not every endpoint did.
# @param pull_monitor_listen
#   `[pull] monitor-listen`: the address at which load balancers and people ask how haproxystats-pull is.
# @param uwsgi_servers
#   `[uwsgi] servers`: stats servers of uWSGI; a pattern is looked up at each cycle.
# @param uwsgi_allow_partial
#   `[uwsgi] allow-partial`: publish what answered, even if not every application did.
# @param zope_servers
#   `[zope] servers`: monitors of Zope instances, by name.
# @param zope_deployments
#   `[zope] deployments`: folders of deployments, whose instances are looked up at each cycle.
# @param zope_database
#   `[zope] database`: the database that each instance is asked about.
# @param zope_sampling_interval
#   `[zope] sampling-interval`: the time over which loads, stores and connections are counted.
# @param zope_allow_partial
#   `[zope] allow-partial`: publish what answered, even if not every instance did.
# @param process_loglevel
#   `[process] loglevel`: how much haproxystats-process logs.
# @param process_src_dir
#   `[process] src-dir`: the directory that is watched: dst-dir of [pull].
# @param process_workers
#   `[process] workers`: worker processes.
# @param process_frontend_metrics
#   `[process] frontend-metrics`: in place of the default list.
# @param process_backend_metrics
#   `[process] backend-metrics`: in place of the default list.
# @param process_server_metrics
#   `[process] server-metrics`: in place of the default list.
# @param process_daemon_metrics
#   `[process] daemon-metrics`: in place of the default list.
# @param process_aggr_server_metrics
#   `[process] aggr-server-metrics`: servers over all backends, too.
# @param process_max_servers_per_backend
#   `[process] max-servers-per-backend`: a backend with more servers than this is sent without them.
# @param process_exclude_frontends
#   `[process] exclude-frontends`: a file of frontends to leave out.
# @param process_exclude_backends
#   `[process] exclude-backends`: a file of backends to leave out.
# @param process_per_process_metrics
#   `[process] per-process-metrics`: lines for each HAProxy process, too.
# @param process_calculate_percentages
#   `[process] calculate-percentages`: four percentages of HAProxy's limits.
# @param process_server_states
#   `[process] server-states`: states of servers and backends, as numbers and as texts.
# @param process_hide_maint
#   `[process] hide-maint`: leave out servers that are in maintenance in all processes.
# @param process_liveness_check_interval
#   `[process] liveness-check-interval`: time between two reports on itself.
# @param process_job_timeout
#   `[process] job-timeout`: a worker without progress for so long is replaced.
# @param process_file_limit
#   `[process] file-limit`: bytes that one file of a snapshot may have.
# @param process_partial_input
#   `[process] partial-input`: what becomes of a snapshot with damaged files.
# @param process_failed_dir
#   `[process] failed-dir`: where snapshots go that cannot be processed.
# @param process_failed_limit
#   `[process] failed-limit`: snapshots kept there; the oldest go.
# @param process_outbox_dir
#   `[process] outbox-dir`: where batches wait while a receiver is away, in a folder for each receiver.
# @param process_monitor_listen
#   `[process] monitor-listen`: the address at which load balancers and people ask how haproxystats-process is.
# @param graphite_enabled
#   `[graphite] enabled`: whether anything is sent.
# @param graphite_server
#   `[graphite] server`: Graphite's plaintext receiver, or several of one cluster.
# @param graphite_port
#   `[graphite] port`: port of a server that is listed without one; carbon's own default is 2003.
# @param graphite_cluster
#   `[graphite] cluster`: of several servers the first that works, or any (each in turn).
# @param graphite_retries
#   `[graphite] retries`: quick tries before delay is waited.
# @param graphite_interval
#   `[graphite] interval`: pause before the first of them.
# @param graphite_backoff
#   `[graphite] backoff`: factor from one pause to the next, 1000 at most.
# @param graphite_connect_timeout
#   `[graphite] connect-timeout`: limit of one try to connect.
# @param graphite_write_timeout
#   `[graphite] write-timeout`: a server that accepts no byte for this long is given up.
# @param graphite_delay
#   `[graphite] delay`: pause once the quick tries are used up; no pause is longer.
# @param graphite_confirm
#   `[graphite] confirm`: when a batch counts as delivered.
# @param graphite_confirm_timeout
#   `[graphite] confirm-timeout`: limit of the wait for that.
# @param graphite_namespace
#   `[graphite] namespace`: first part of every path.
# @param graphite_prefix_hostname
#   `[graphite] prefix-hostname`: whether this machine's name follows it.
# @param graphite_fqdn
#   `[graphite] fqdn`: the whole name; false: up to its first dot.
# @param graphite_tags
#   `[graphite] tags`: whether names are tags of Graphite 1.1 in place of path parts.
# @param graphite_max_line
#   `[graphite] max-line`: longer lines are left out and counted.
# @param graphite_tls
#   `[graphite] tls`: whether connections are made by TLS.
# @param graphite_ca_file
#   `[graphite] ca-file`: certificates (PEM) of authorities that are trusted, in place of the system's.
# @param graphite_certificate
#   `[graphite] certificate`: our own certificate (PEM), with its chain.
# @param graphite_key
#   `[graphite] key`: the key of certificate (PEM).
# @param graphite_server_name
#   `[graphite] server-name`: name that the server's certificate must have, if it is not that of its address.
# @param graphite_outbox_size
#   `[graphite] outbox-size`: bytes that wait there; over it the oldest go.
# @param graphite_outbox_sync
#   `[graphite] outbox-sync`: sync a batch to the disk before its snapshot goes.
# @param graphite_replay_rate
#   `[graphite] replay-rate`: metrics per second that leave the outbox; 0 is no limit.
# @param graphite_queue_size
#   `[graphite] queue-size`: metrics that wait in the outbox; over it the oldest go.
# @param graphite_groups
#   `[graphite] groups`: whether the sections of groups hold here.
# @param graphite_group_namespace
#   `[graphite] group-namespace`: path part before a group's name.
# @param graphite_group_namespace_double_writes
#   `[graphite] group-namespace-double-writes`: grouped lines on their plain paths, too.
# @param influxdb_enabled
#   `[influxdb] enabled`: whether anything is sent to this receiver.
# @param influxdb_url
#   `[influxdb] url`: where it listens, such as http://127.0.0.1:8086; must be set.
# @param influxdb_api
#   `[influxdb] api`: /write of InfluxDB 1.x (v1), /api/v2/write of 2 and 3 (v2); auto: v2 if bucket is set.
# @param influxdb_database
#   `[influxdb] database`: database (v1); it or bucket must be set.
# @param influxdb_username
#   `[influxdb] username`: user (v1).
# @param influxdb_password_file
#   `[influxdb] password-file`: file with the user's password (v1).
# @param influxdb_retention_policy
#   `[influxdb] retention-policy`: retention policy (v1), in place of the database's default.
# @param influxdb_create_database
#   `[influxdb] create-database`: whether a database that is missing is made (v1).
# @param influxdb_org
#   `[influxdb] org`: organisation (v2).
# @param influxdb_bucket
#   `[influxdb] bucket`: bucket (v2); for 3.x the database.
# @param influxdb_token_file
#   `[influxdb] token-file`: file with the token (v2).
# @param influxdb_tags
#   `[influxdb] tags`: tags of every line, such as dc=ams1, env=prod.
# @param influxdb_keep_field_names
#   `[influxdb] keep-field-names`: whether fields have HAProxy's names in place of telegraf's.
# @param influxdb_groups
#   `[influxdb] groups`: whether the sections of groups give the tag group.
# @param influxdb_gzip
#   `[influxdb] gzip`: whether requests are compressed; auto: not to an address of this machine's loopback.
# @param influxdb_batch_points
#   `[influxdb] batch-points`: lines of one request.
# @param influxdb_connect_timeout
#   `[influxdb] connect-timeout`: limit of one try to connect, TLS included.
# @param influxdb_write_timeout
#   `[influxdb] write-timeout`: a server that accepts no byte for this long is given up.
# @param influxdb_timeout
#   `[influxdb] timeout`: limit of the wait for an answer.
# @param influxdb_ca_file
#   `[influxdb] ca-file`: certificates (PEM) of authorities that are trusted, in place of the system's.
# @param influxdb_certificate
#   `[influxdb] certificate`: our own certificate (PEM), with its chain.
# @param influxdb_key
#   `[influxdb] key`: the key of certificate (PEM).
# @param influxdb_server_name
#   `[influxdb] server-name`: name that the server's certificate must have, if it is not that of its address.
# @param influxdb_retries
#   `[influxdb] retries`: quick tries after a failed one, before delay is waited.
# @param influxdb_interval
#   `[influxdb] interval`: pause before the first of them.
# @param influxdb_backoff
#   `[influxdb] backoff`: factor from one pause to the next, 1000 at most.
# @param influxdb_delay
#   `[influxdb] delay`: pause once the quick tries are used up; no pause is longer.
# @param influxdb_outbox_size
#   `[influxdb] outbox-size`: bytes that may wait for this receiver on disk; over it the oldest go.
# @param influxdb_queue_size
#   `[influxdb] queue-size`: metrics that may wait for this receiver on disk; over it the oldest go.
# @param influxdb_outbox_sync
#   `[influxdb] outbox-sync`: sync a batch to the disk before its snapshot goes.
# @param influxdb_replay_rate
#   `[influxdb] replay-rate`: metrics per second that leave the outbox once the receiver is back; 0 is no limit.
# @param kafka_enabled
#   `[kafka] enabled`: whether anything is sent to this receiver.
# @param kafka_brokers
#   `[kafka] brokers`: brokers to begin with; they tell of the others.
# @param kafka_topic
#   `[kafka] topic`: topic of all messages.
# @param kafka_format
#   `[kafka] format`: InfluxDB's lines with nanoseconds, Graphite's lines, or a JSON object for each row.
# @param kafka_lines
#   `[kafka] lines`: lines of a message: as many as fit, each with its line feed, or one without.
# @param kafka_message_size
#   `[kafka] message-size`: bytes that a message may have; a longer line is left out and counted.
# @param kafka_key
#   `[kafka] key`: key of a message: the machine that pulled the snapshot, or none.
# @param kafka_compression
#   `[kafka] compression`: compression of messages; zstd has level 1.
# @param kafka_security_protocol
#   `[kafka] security-protocol`: whether connections have TLS (ssl) and a login (sasl).
# @param kafka_sasl_mechanism
#   `[kafka] sasl-mechanism`: how to log in, with sasl_plaintext and sasl_ssl.
# @param kafka_sasl_username
#   `[kafka] sasl-username`: user; must be set for a login.
# @param kafka_sasl_password_file
#   `[kafka] sasl-password-file`: file with the user's password; must be set for a login.
# @param kafka_connect_timeout
#   `[kafka] connect-timeout`: limit of one try to connect.
# @param kafka_write_timeout
#   `[kafka] write-timeout`: added to connect-timeout for TLS and login; limit of one try to reach a broker.
# @param kafka_confirm_timeout
#   `[kafka] confirm-timeout`: a batch of which no message is confirmed for this long is given up.
# @param kafka_namespace
#   `[kafka] namespace`: first part of every path.
# @param kafka_prefix_hostname
#   `[kafka] prefix-hostname`: whether the machine's name follows it.
# @param kafka_fqdn
#   `[kafka] fqdn`: the whole name; false: up to its first dot.
# @param kafka_ca_file
#   `[kafka] ca-file`: certificates (PEM) of authorities that are trusted, in place of the system's.
# @param kafka_certificate
#   `[kafka] certificate`: our own certificate (PEM), with its chain.
# @param kafka_certificate_key
#   `[kafka] certificate-key`: the key of certificate (PEM).
# @param kafka_retries
#   `[kafka] retries`: quick tries after a failed one, before delay is waited.
# @param kafka_interval
#   `[kafka] interval`: pause before the first of them.
# @param kafka_backoff
#   `[kafka] backoff`: factor from one pause to the next, 1000 at most.
# @param kafka_delay
#   `[kafka] delay`: pause once the quick tries are used up; no pause is longer.
# @param kafka_outbox_size
#   `[kafka] outbox-size`: bytes that may wait for this receiver on disk; over it the oldest go.
# @param kafka_queue_size
#   `[kafka] queue-size`: metrics that may wait for this receiver on disk; over it the oldest go.
# @param kafka_outbox_sync
#   `[kafka] outbox-sync`: sync a batch to the disk before its snapshot goes.
# @param kafka_replay_rate
#   `[kafka] replay-rate`: metrics per second that leave the outbox once the receiver is back; 0 is no limit.
# @param local_store_enabled
#   `[local-store] enabled`: whether anything is sent to this receiver.
# @param local_store_retries
#   `[local-store] retries`: quick tries after a failed one, before delay is waited.
# @param local_store_interval
#   `[local-store] interval`: pause before the first of them.
# @param local_store_backoff
#   `[local-store] backoff`: factor from one pause to the next, 1000 at most.
# @param local_store_delay
#   `[local-store] delay`: pause once the quick tries are used up; no pause is longer.
# @param local_store_outbox_size
#   `[local-store] outbox-size`: bytes that may wait for this receiver on disk; over it the oldest go.
# @param local_store_queue_size
#   `[local-store] queue-size`: metrics that may wait for this receiver on disk; over it the oldest go.
# @param local_store_outbox_sync
#   `[local-store] outbox-sync`: sync a batch to the disk before its snapshot goes.
# @param local_store_replay_rate
#   `[local-store] replay-rate`: metrics per second that leave the outbox once the receiver is back; 0 is no limit.
# @param local_store_dir
#   `[local-store] dir`: gets a file <timestamp>/stats for each snapshot.
# @param local_store_retention
#   `[local-store] retention`: age after which our own directories are removed.
# @param frontend_groups
#   `[frontend-groups]`: a regular expression for each group's name; the first that is found wins.
# @param backend_groups
#   `[backend-groups]`: as above.
# @param server_groups
#   `[server-groups]`: as above.
# @param local_store
#   Whether there is a section `[local-store]`. Without it the options of that section are not written.
class haproxystats (
  Array[Enum['pull', 'process'], 1]      $programs = ['pull', 'process'],
  Enum['package', 'files', 'none']       $install = 'package',
  String[1]                              $package_name = 'haproxystats',
  String[1]                              $package_ensure = 'installed',
  Optional[Haproxystats::Path]           $package_source = undef,
  String[1]                              $files_source = 'puppet:///modules/haproxystats',
  Haproxystats::Path                     $bin_directory = '/usr/bin',
  Haproxystats::Path                     $unit_directory = '/etc/systemd/system',
  Boolean                                $manage_user = $install == 'files',
  String[1]                              $user = 'haproxystats',
  String[1]                              $group = 'haproxystats',
  String[1]                              $socket_group = 'haproxy',
  Haproxystats::Path                     $config_file = '/etc/haproxystats.conf',
  Haproxystats::Path                     $config_directory = '/etc/haproxystats.d',
  String[1]                              $config_owner = 'root',
  String[1]                              $config_group = 'root',
  Array[Haproxystats::Path]              $state_directories = [],
  Haproxystats::Cpus                     $cpus_pull = 'last',
  Haproxystats::Cpus                     $cpus_process = 'last',
  Boolean                                $manage_services = true,
  Enum['running', 'stopped']             $service_ensure = 'running',
  Boolean                                $service_enable = true,
  Optional[Haproxystats::Loglevel]       $default_loglevel = undef,
  Optional[Integer[-1]]                  $default_retries = undef,
  Optional[Haproxystats::Pause]          $default_timeout = undef,
  Optional[Haproxystats::Pause]          $default_interval = undef,
  Optional[Haproxystats::Path]           $paths_base_dir = undef,
  Optional[Haproxystats::Loglevel]       $pull_loglevel = undef,
  Optional[Haproxystats::HostName]       $pull_host_name = undef,
  Optional[Haproxystats::Path]           $pull_socket_dir = undef,
  Optional[Haproxystats::Servers]        $pull_servers = undef,
  Optional[Haproxystats::Servers]        $pull_masters = undef,
  Optional[Boolean]                      $pull_old_workers = undef,
  Optional[Integer[1, 100000]]           $pull_servers_interval = undef,
  Optional[Integer[-1]]                  $pull_retries = undef,
  Optional[Haproxystats::Limit]          $pull_timeout = undef,
  Optional[Haproxystats::Pause]          $pull_interval = undef,
  Optional[Haproxystats::Pause]          $pull_pull_timeout = undef,
  Optional[Integer[1, 1000000000]]       $pull_pull_interval = undef,
  Optional[Integer[1, 1073741824]]       $pull_buffer_limit = undef,
  Optional[Integer[1]]                   $pull_answer_limit = undef,
  Optional[Haproxystats::Path]           $pull_dst_dir = undef,
  Optional[Haproxystats::Path]           $pull_tmp_dst_dir = undef,
  Optional[Integer[1, 512]]              $pull_workers = undef,
  Optional[Integer[1, 1000000000]]       $pull_queue_size = undef,
  Optional[Boolean]                      $pull_sync = undef,
  Optional[Boolean]                      $pull_allow_partial = undef,
  Optional[Haproxystats::Listen]         $pull_monitor_listen = undef,
  Optional[Haproxystats::Applications]   $uwsgi_servers = undef,
  Optional[Boolean]                      $uwsgi_allow_partial = undef,
  Optional[Haproxystats::Instances]      $zope_servers = undef,
  Optional[Haproxystats::Folders]        $zope_deployments = undef,
  Optional[Haproxystats::Name]           $zope_database = undef,
  Optional[Integer[1, 3600]]             $zope_sampling_interval = undef,
  Optional[Boolean]                      $zope_allow_partial = undef,
  Optional[Haproxystats::Loglevel]       $process_loglevel = undef,
  Optional[Haproxystats::Path]           $process_src_dir = undef,
  Optional[Integer[1, 512]]              $process_workers = undef,
  Optional[Haproxystats::Metrics]        $process_frontend_metrics = undef,
  Optional[Haproxystats::Metrics]        $process_backend_metrics = undef,
  Optional[Haproxystats::Metrics]        $process_server_metrics = undef,
  Optional[Haproxystats::Metrics]        $process_daemon_metrics = undef,
  Optional[Boolean]                      $process_aggr_server_metrics = undef,
  Optional[Integer[1, 1000000000]]       $process_max_servers_per_backend = undef,
  Optional[Haproxystats::Path]           $process_exclude_frontends = undef,
  Optional[Haproxystats::Path]           $process_exclude_backends = undef,
  Optional[Boolean]                      $process_per_process_metrics = undef,
  Optional[Boolean]                      $process_calculate_percentages = undef,
  Optional[Boolean]                      $process_server_states = undef,
  Optional[Boolean]                      $process_hide_maint = undef,
  Optional[Haproxystats::Limit]          $process_liveness_check_interval = undef,
  Optional[Haproxystats::Limit]          $process_job_timeout = undef,
  Optional[Integer[1]]                   $process_file_limit = undef,
  Optional[Enum['accept', 'refuse']]     $process_partial_input = undef,
  Optional[Haproxystats::Path]           $process_failed_dir = undef,
  Optional[Integer[1, 1000000000]]       $process_failed_limit = undef,
  Optional[Haproxystats::Path]           $process_outbox_dir = undef,
  Optional[Haproxystats::Listen]         $process_monitor_listen = undef,
  Optional[Boolean]                      $graphite_enabled = undef,
  Optional[Haproxystats::ServerList]      $graphite_server = undef,
  Optional[Integer[1, 65535]]            $graphite_port = undef,
  Optional[Enum['failover', 'any']]      $graphite_cluster = undef,
  Optional[Integer[-1]]                  $graphite_retries = undef,
  Optional[Haproxystats::Pause]          $graphite_interval = undef,
  Optional[Haproxystats::Factor]         $graphite_backoff = undef,
  Optional[Haproxystats::Limit]          $graphite_connect_timeout = undef,
  Optional[Haproxystats::Limit]          $graphite_write_timeout = undef,
  Optional[Haproxystats::Pause]          $graphite_delay = undef,
  Optional[Enum['close', 'tcp', 'none']] $graphite_confirm = undef,
  Optional[Haproxystats::Limit]          $graphite_confirm_timeout = undef,
  Optional[Haproxystats::Prefix]         $graphite_namespace = undef,
  Optional[Boolean]                      $graphite_prefix_hostname = undef,
  Optional[Boolean]                      $graphite_fqdn = undef,
  Optional[Boolean]                      $graphite_tags = undef,
  Optional[Integer[512, 1048576]]        $graphite_max_line = undef,
  Optional[Boolean]                      $graphite_tls = undef,
  Optional[Haproxystats::Path]           $graphite_ca_file = undef,
  Optional[Haproxystats::Path]           $graphite_certificate = undef,
  Optional[Haproxystats::Path]           $graphite_key = undef,
  Optional[Haproxystats::Host]           $graphite_server_name = undef,
  Optional[Integer[1]]                   $graphite_outbox_size = undef,
  Optional[Boolean]                      $graphite_outbox_sync = undef,
  Optional[Integer[0]]                   $graphite_replay_rate = undef,
  Optional[Integer[1]]                   $graphite_queue_size = undef,
  Optional[Boolean]                      $graphite_groups = undef,
  Optional[Haproxystats::Prefix]         $graphite_group_namespace = undef,
  Optional[Boolean]                      $graphite_group_namespace_double_writes = undef,
  Optional[Boolean]                      $influxdb_enabled = undef,
  Optional[Haproxystats::Url]            $influxdb_url = undef,
  Optional[Enum['auto', 'v1', 'v2']]     $influxdb_api = undef,
  Optional[Haproxystats::Text]           $influxdb_database = undef,
  Optional[Haproxystats::Text]           $influxdb_username = undef,
  Optional[Haproxystats::Path]           $influxdb_password_file = undef,
  Optional[Haproxystats::Text]           $influxdb_retention_policy = undef,
  Optional[Boolean]                      $influxdb_create_database = undef,
  Optional[Haproxystats::Text]           $influxdb_org = undef,
  Optional[Haproxystats::Text]           $influxdb_bucket = undef,
  Optional[Haproxystats::Path]           $influxdb_token_file = undef,
  Optional[Haproxystats::Tags]           $influxdb_tags = undef,
  Optional[Boolean]                      $influxdb_keep_field_names = undef,
  Optional[Boolean]                      $influxdb_groups = undef,
  Optional[Enum['auto', 'true', 'false']] $influxdb_gzip = undef,
  Optional[Integer[1, 1000000]]          $influxdb_batch_points = undef,
  Optional[Haproxystats::Limit]          $influxdb_connect_timeout = undef,
  Optional[Haproxystats::Limit]          $influxdb_write_timeout = undef,
  Optional[Haproxystats::Limit]          $influxdb_timeout = undef,
  Optional[Haproxystats::Path]           $influxdb_ca_file = undef,
  Optional[Haproxystats::Path]           $influxdb_certificate = undef,
  Optional[Haproxystats::Path]           $influxdb_key = undef,
  Optional[Haproxystats::Host]           $influxdb_server_name = undef,
  Optional[Integer[-1]]                  $influxdb_retries = undef,
  Optional[Haproxystats::Pause]          $influxdb_interval = undef,
  Optional[Haproxystats::Factor]         $influxdb_backoff = undef,
  Optional[Haproxystats::Pause]          $influxdb_delay = undef,
  Optional[Integer[1]]                   $influxdb_outbox_size = undef,
  Optional[Integer[1]]                   $influxdb_queue_size = undef,
  Optional[Boolean]                      $influxdb_outbox_sync = undef,
  Optional[Integer[0]]                   $influxdb_replay_rate = undef,
  Optional[Boolean]                      $kafka_enabled = undef,
  Optional[Haproxystats::Brokers]        $kafka_brokers = undef,
  Optional[Haproxystats::Topic]          $kafka_topic = undef,
  Optional[Enum['influx', 'graphite', 'json']] $kafka_format = undef,
  Optional[Enum['many', 'one']]          $kafka_lines = undef,
  Optional[Integer[1024, 16777216]]      $kafka_message_size = undef,
  Optional[Enum['host', 'none']]         $kafka_key = undef,
  Optional[Enum['none', 'gzip', 'snappy', 'lz4', 'zstd']] $kafka_compression = undef,
  Optional[Enum['plaintext', 'ssl', 'sasl_plaintext', 'sasl_ssl']] $kafka_security_protocol = undef,
  Optional[Enum['plain', 'scram-sha-256', 'scram-sha-512']] $kafka_sasl_mechanism = undef,
  Optional[Haproxystats::Text]           $kafka_sasl_username = undef,
  Optional[Haproxystats::Path]           $kafka_sasl_password_file = undef,
  Optional[Haproxystats::Limit]          $kafka_connect_timeout = undef,
  Optional[Haproxystats::Limit]          $kafka_write_timeout = undef,
  Optional[Haproxystats::Limit]          $kafka_confirm_timeout = undef,
  Optional[Haproxystats::Prefix]         $kafka_namespace = undef,
  Optional[Boolean]                      $kafka_prefix_hostname = undef,
  Optional[Boolean]                      $kafka_fqdn = undef,
  Optional[Haproxystats::Path]           $kafka_ca_file = undef,
  Optional[Haproxystats::Path]           $kafka_certificate = undef,
  Optional[Haproxystats::Path]           $kafka_certificate_key = undef,
  Optional[Integer[-1]]                  $kafka_retries = undef,
  Optional[Haproxystats::Pause]          $kafka_interval = undef,
  Optional[Haproxystats::Factor]         $kafka_backoff = undef,
  Optional[Haproxystats::Pause]          $kafka_delay = undef,
  Optional[Integer[1]]                   $kafka_outbox_size = undef,
  Optional[Integer[1]]                   $kafka_queue_size = undef,
  Optional[Boolean]                      $kafka_outbox_sync = undef,
  Optional[Integer[0]]                   $kafka_replay_rate = undef,
  Optional[Boolean]                      $local_store_enabled = undef,
  Optional[Integer[-1]]                  $local_store_retries = undef,
  Optional[Haproxystats::Pause]          $local_store_interval = undef,
  Optional[Haproxystats::Factor]         $local_store_backoff = undef,
  Optional[Haproxystats::Pause]          $local_store_delay = undef,
  Optional[Integer[1]]                   $local_store_outbox_size = undef,
  Optional[Integer[1]]                   $local_store_queue_size = undef,
  Optional[Boolean]                      $local_store_outbox_sync = undef,
  Optional[Integer[0]]                   $local_store_replay_rate = undef,
  Optional[Haproxystats::Path]           $local_store_dir = undef,
  Optional[Haproxystats::Limit]          $local_store_retention = undef,
  Optional[Haproxystats::Groups]         $frontend_groups = undef,
  Optional[Haproxystats::Groups]         $backend_groups = undef,
  Optional[Haproxystats::Groups]         $server_groups = undef,
  Boolean                                $local_store = false,
) {
  # These stand in commands, units and `file` titles, where no reference is replaced.
  [$bin_directory, $unit_directory, $config_file, $config_directory, *$state_directories].each |$path| {
    if $path !~ /\A\/[^\s%"']*\z/ {
      fail("haproxystats: ${path} is no absolute path without blanks, quotes and percent signs")
    }
  }

  contain haproxystats::install
  contain haproxystats::config
  Class['haproxystats::install'] -> Class['haproxystats::config']

  $programs.unique.each |$program| {
    contain "haproxystats::${program}"
    Class['haproxystats::install'] ~> Class["haproxystats::${program}"]
    Class['haproxystats::config'] ~> Class["haproxystats::${program}"]
  }
}
