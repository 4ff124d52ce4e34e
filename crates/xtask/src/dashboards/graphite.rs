//! A dashboard in the form of graphite-web, which its page sends to `/dashboard/save/<name>`.
//!
//! It has no variables. The paths are those of the default namespace with all its hosts, so that
//! the overview works as it is; `FRONTEND`, `BACKEND`, `APPLICATION` and `DEPLOYMENT` are words for
//! `sed`.

use serde_json::{Value, json};

use super::functions::{self, Paths};
use super::{Board, Chart, Panel, Subject};

const PATHS: Paths = Paths {
    host: "loadbalancers.*.haproxy",
    frontend: "loadbalancers.*.haproxy.frontend.FRONTEND",
    backend: "loadbalancers.*.haproxy.backend.BACKEND",
    servers: "loadbalancers.*.haproxy.backend.BACKEND.server.*",
    application: "loadbalancers.*.uwsgi.APPLICATION",
    deployment: "loadbalancers.*.zope.DEPLOYMENT",
};

/// The width of a graph: three fit in a line of a common screen.
const WIDTH: u32 = 440;
const HEIGHT: u32 = 260;

/// A minute, in milliseconds.
const REFRESH: u32 = 60_000;

pub(super) fn encode(board: &Board) -> Value {
    let subject = match board.subject {
        Subject::Hosts => "",
        Subject::Frontend => "-FRONTEND",
        Subject::Backend => "-BACKEND",
        Subject::Application => "-APPLICATION",
        Subject::Deployment => "-DEPLOYMENT",
    };
    // graphite-web has no panel for a single value.
    let graphs = board
        .panels
        .iter()
        .filter(|panel| matches!(panel.chart, Chart::Lines | Chart::Stack | Chart::Bars));
    json!({
        "name": format!("{}{subject}", board.id),
        "timeConfig": {
            "type": "relative",
            "relativeStartQuantity": "1",
            "relativeStartUnits": "hours",
            "relativeUntilQuantity": "",
            "relativeUntilUnits": "now",
            // Without effect while the type is relative, but the page reads them.
            "startDate": "2026-01-01T00:00:00",
            "startTime": "9:00 AM",
            "endDate": "2026-01-01T00:00:00",
            "endTime": "5:00 PM",
        },
        "refreshConfig": {"enabled": true, "interval": REFRESH},
        "graphSize": {"width": WIDTH, "height": HEIGHT},
        "defaultGraphParams": {
            "from": "-1hours",
            "until": "now",
            "width": WIDTH,
            "height": HEIGHT,
        },
        "graphs": graphs.map(graph).collect::<Vec<_>>(),
    })
}

/// The page needs the targets three times: as a name, as parameters, and in an address that it
/// makes anew.
fn graph(panel: &Panel) -> Value {
    let targets: Vec<String> =
        panel.lines.iter().map(|line| functions::target(line, &PATHS)).collect();
    let area = if matches!(panel.chart, Chart::Lines) { "none" } else { "stacked" };
    let parameters = json!({
        "title": panel.title,
        "target": targets,
        "areaMode": area,
        "yMin": "0",
        "hideLegend": "false",
        "uniqueLegend": "true",
    });
    let query: Vec<String> =
        targets.iter().map(|target| format!("target={}", escaped(target))).collect();
    let query = query.join("&");
    let address = format!(
        "/render?{query}&title={}&areaMode={area}&yMin=0&hideLegend=false\
         &uniqueLegend=true&from=-1hours&until=now&width={WIDTH}&height={HEIGHT}",
        escaped(panel.title),
    );
    json!([query, parameters, address])
}

/// For the query of an address.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
