//! The names of fields: telegraf's (plugins/inputs/haproxy), so that dashboards built on telegraf
//! go on, or HAProxy's own with `keep-field-names`.

/// HAProxy's columns that telegraf renames.
const RENAMED: [(&str, &str); 10] = [
    ("act", "active_servers"),
    ("bck", "backup_servers"),
    ("cli_abrt", "cli_abort"),
    ("srv_abrt", "srv_abort"),
    ("hrsp_1xx", "http_response.1xx"),
    ("hrsp_2xx", "http_response.2xx"),
    ("hrsp_3xx", "http_response.3xx"),
    ("hrsp_4xx", "http_response.4xx"),
    ("hrsp_5xx", "http_response.5xx"),
    ("hrsp_other", "http_response.other"),
];

/// The name of a column of a proxy's row.
pub(super) fn of_proxy(column: &str, keeps_names: bool) -> &str {
    if keeps_names {
        return column;
    }
    let renamed = RENAMED.iter().find(|(haproxy, _)| *haproxy == column);
    renamed.map_or(column, |(_, telegraf)| telegraf)
}
