//! The dashboards of `contrib/grafana` and `contrib/graphite`, tried with the real tools.
