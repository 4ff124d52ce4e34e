//! InfluxDB as Grafana's data source, with InfluxQL.
//!
//! A variable stands in a pattern everywhere, because Grafana escapes the dots of names in patterns
//! alone, or, in old versions, everywhere.

use serde_json::{Value, json};

use super::super::Subject;
use super::super::influxql::{self, condition};
use super::super::line::{Line, Rows};
use super::{Source, query, several};

pub(in super::super) const INFLUXDB: Source = Source {
    kind: "influxdb",
    name: "InfluxDB",
    id: "haproxystats-influxdb",
    suffix: " (InfluxDB)",
    // The default of `pull-interval`. In less time not every host has a point.
    interval: "10s",
    variables,
    target,
};

/// The pattern of all values.
const ALL: &str = ".*";

fn variables(subject: Subject) -> Vec<Value> {
    let hosts = match subject {
        Subject::Hosts | Subject::Frontend | Subject::Backend => {
            r#"SHOW TAG VALUES FROM "haproxy", "haproxystats" WITH KEY = "host""#
        }
        Subject::Application => r#"SHOW TAG VALUES FROM "uwsgi" WITH KEY = "host""#,
        Subject::Deployment => r#"SHOW TAG VALUES FROM "deployments" WITH KEY = "host""#,
    };
    let mut variables = vec![several(query("host", "Host", hosts, ""), ALL)];
    match subject {
        Subject::Hosts => {}
        Subject::Frontend => {
            let frontends = values("proxy", &condition(Rows::Frontends));
            variables.push(query("frontend", "Frontend", &frontends, ""));
        }
        Subject::Backend => {
            let backends = values("proxy", &condition(Rows::Backends));
            let of_backend = r#""type" = 'server' AND "proxy" =~ /^$backend$/"#;
            let servers = values("sv", &format!(r#"{of_backend} AND "host" =~ /^$host$/"#));
            variables.push(query("backend", "Backend", &backends, ""));
            variables.push(several(query("server", "Server", &servers, ""), ALL));
        }
        Subject::Application => {
            let applications =
                r#"SHOW TAG VALUES FROM "uwsgi" WITH KEY = "source" WHERE "host" =~ /^$host$/"#;
            variables.push(query("application", "Application", applications, ""));
        }
        Subject::Deployment => {
            let all = r#"SHOW TAG VALUES FROM "deployments" WITH KEY = "deployment""#;
            let deployments = format!(r#"{all} WHERE "host" =~ /^$host$/"#);
            variables.push(query("deployment", "Deployment", &deployments, ""));
        }
    }
    variables
}

fn values(tag: &str, condition: &str) -> String {
    format!(r#"SHOW TAG VALUES FROM "haproxy" WITH KEY = "{tag}" WHERE {condition}"#)
}

fn target(line: &Line) -> Value {
    json!({
        "query": influxql::query(line),
        "rawQuery": true,
        "resultFormat": "time_series",
        "alias": influxql::alias(line),
    })
}
