//! Graphite as Grafana's data source.
//!
//! Namespaces and hosts are queried with `expand`, because only that tells our hosts from other
//! nodes of a namespace.

use serde_json::{Value, json};

use super::super::Subject;
use super::super::functions::{self, Paths};
use super::super::line::Line;
use super::{Source, query, several};

const PATHS: Paths = Paths {
    host: "$namespace.$host.haproxy",
    frontend: "$namespace.$host.haproxy.frontend.$frontend",
    backend: "$namespace.$host.haproxy.backend.$backend",
    servers: "$namespace.$host.haproxy.backend.$backend.server.$server",
    application: "$namespace.$host.uwsgi.$application",
    deployment: "$namespace.$host.zope.$deployment",
};

pub(in super::super) const GRAPHITE: Source = Source {
    kind: "graphite",
    name: "Graphite",
    id: "haproxystats",
    suffix: "",
    // That of the finest retention.
    interval: "",
    variables,
    target,
};

fn variables(subject: Subject) -> Vec<Value> {
    // A host can have uWSGI or Zope without HAProxy.
    let (namespaces, hosts, pattern) = match subject {
        Subject::Hosts | Subject::Frontend | Subject::Backend => {
            ("expand(*.*.haproxy)", "expand($namespace.*.haproxy)", r"/([^.]+)\.haproxy$/")
        }
        Subject::Application => {
            ("expand(*.*.uwsgi)", "expand($namespace.*.uwsgi)", r"/([^.]+)\.uwsgi$/")
        }
        Subject::Deployment => {
            ("expand(*.*.zope)", "expand($namespace.*.zope)", r"/([^.]+)\.zope$/")
        }
    };
    let mut variables = vec![
        query("namespace", "Namespace", namespaces, r"/^([^.]+)\./"),
        several(query("host", "Host", hosts, pattern), "*"),
    ];
    match subject {
        Subject::Hosts => {}
        Subject::Frontend => {
            let frontends = "$namespace.$host.haproxy.frontend.*";
            variables.push(query("frontend", "Frontend", frontends, ""));
        }
        Subject::Backend => {
            let backends = "$namespace.$host.haproxy.backend.*";
            let servers = "$namespace.$host.haproxy.backend.$backend.server.*";
            variables.push(query("backend", "Backend", backends, ""));
            variables.push(several(query("server", "Server", servers, ""), "*"));
        }
        Subject::Application => {
            let applications = "$namespace.$host.uwsgi.*";
            variables.push(query("application", "Application", applications, ""));
        }
        Subject::Deployment => {
            variables.push(query("deployment", "Deployment", "$namespace.$host.zope.*", ""));
        }
    }
    variables
}

fn target(line: &Line) -> Value {
    json!({"target": functions::target(line, &PATHS), "textEditor": true})
}
