//! `cargo xtask dashboards`: the dashboards of `contrib/grafana`, for Graphite and for InfluxDB,
//! and of `contrib/graphite`, all written from one list of panels, so that they show the same.
//!
//! The files are committed, because operators take them as they are. A test compares them with the
//! list; do not edit them.

mod functions;
mod grafana;
mod graphite;
mod hosts;
mod influxql;
mod line;
mod ours;
mod proxies;
mod uwsgi;
mod zope;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::{Failure, root};
use grafana::{GRAPHITE, INFLUXDB};
use line::Line;

/// One dashboard.
struct Board {
    /// The name of its file, without an extension.
    name: &'static str,
    /// Its identifier in Grafana over Graphite and in graphite-web.
    id: &'static str,
    title: &'static str,
    subject: Subject,
    panels: &'static [Panel],
}

/// The variable at the top of a dashboard, beside host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Hosts,
    Frontend,
    Backend,
    Application,
    Deployment,
}

/// One picture or one figure.
struct Panel {
    title: &'static str,
    /// How to read the panel, or what to do about a bad value.
    about: &'static str,
    unit: Unit,
    chart: Chart,
    lines: &'static [Line],
}

#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    BytesPerSecond,
    Count,
    Microseconds,
    Milliseconds,
    Percent,
    PerSecond,
    Requests,
    Seconds,
}

#[derive(Clone, Copy)]
enum Chart {
    Lines,
    /// Lines whose sum matters too.
    Stack,
    /// The number of events since the point before.
    Bars,
    /// The last value alone, and from which threshold it is bad.
    Figure(Threshold),
    /// The sum of all points in view, for events that should never happen.
    Total,
}

#[derive(Clone, Copy)]
enum Threshold {
    Never,
    From(f64),
    Below(f64),
}

const BOARDS: [Board; 6] = [
    Board {
        name: "overview",
        id: "haproxystats-overview",
        title: "HAProxy: overview",
        subject: Subject::Hosts,
        panels: hosts::PANELS,
    },
    Board {
        name: "frontend",
        id: "haproxystats-frontend",
        title: "HAProxy: one frontend",
        subject: Subject::Frontend,
        panels: proxies::FRONTEND_PANELS,
    },
    Board {
        name: "backend",
        id: "haproxystats-backend",
        title: "HAProxy: one backend with its servers",
        subject: Subject::Backend,
        panels: proxies::BACKEND_PANELS,
    },
    Board {
        name: "haproxystats",
        id: "haproxystats",
        title: "haproxystats itself",
        subject: Subject::Hosts,
        panels: ours::PANELS,
    },
    Board {
        name: "uwsgi",
        id: "haproxystats-uwsgi",
        title: "uWSGI: one application",
        subject: Subject::Application,
        panels: uwsgi::PANELS,
    },
    Board {
        name: "zope",
        id: "haproxystats-zope",
        title: "Zope: one deployment",
        subject: Subject::Deployment,
        panels: zope::PANELS,
    },
];

/// Writes all dashboards.
pub(crate) fn run() -> Result<(), Failure> {
    for (path, board) in files() {
        fs::write(&path, text(&board)).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("xtask: wrote {}", path.display());
    }
    Ok(())
}

fn files() -> Vec<(PathBuf, Value)> {
    let contrib = root().join("contrib");
    let of_board = |board: &Board| {
        let file = format!("{}.json", board.name);
        [
            (contrib.join("grafana").join(&file), grafana::encode(board, &GRAPHITE)),
            (contrib.join("grafana/influxdb").join(&file), grafana::encode(board, &INFLUXDB)),
            (contrib.join("graphite").join(&file), graphite::encode(board)),
        ]
    };
    BOARDS.iter().flat_map(of_board).collect()
}

fn text(board: &Value) -> String {
    format!("{board:#}\n")
}

#[cfg(test)]
mod tests {
    use super::line::Rows;
    use super::*;

    #[test]
    fn the_files_are_what_the_list_of_panels_says() {
        for (path, board) in files() {
            let there = fs::read_to_string(&path).unwrap();
            assert!(there == text(&board), "{}: run `cargo xtask dashboards`", path.display());
        }
    }

    /// A dashboard has no variable for the rows of another one.
    #[test]
    fn panels_ask_only_for_what_their_dashboard_chooses() {
        for board in &BOARDS {
            let others = [Rows::Frontends, Rows::Backends, Rows::Daemons, Rows::Own];
            let chosen: &[Rows] = match board.subject {
                Subject::Hosts => &others,
                Subject::Frontend => &[&others[..], &[Rows::Frontend]].concat(),
                Subject::Backend => &[&others[..], &[Rows::Backend, Rows::Servers]].concat(),
                Subject::Application => &[Rows::Application, Rows::Workers],
                Subject::Deployment => &[Rows::Instances],
            };
            for panel in board.panels {
                let is_strange = |line: &Line| !chosen.contains(&line.rows);
                assert!(!panel.lines.iter().any(is_strange), "{}", panel.title);
            }
        }
    }
}
