//! A line in the functions of Graphite.
//!
//! Counters of HAProxy start again at its reload, so they are shown as `perSecond`, which ignores a
//! fall. Names are taken from the end of a path (`-2`), because a namespace can have any length.
//!
//! The series of our own counters have gaps: nothing comes while Graphite is down, and a failed
//! cycle leaves no snapshot. A plain derivative would not show a loss during the gap, so the last
//! value is kept across it.

use super::line::{Label, Line, Rows, Shows};

/// The paths of a kind of dashboard, without a dot at the end.
pub(super) struct Paths {
    /// All hosts in view.
    pub(super) host: &'static str,
    pub(super) frontend: &'static str,
    pub(super) backend: &'static str,
    /// The servers in view.
    pub(super) servers: &'static str,
    /// The chosen application of uWSGI.
    pub(super) application: &'static str,
    /// The chosen deployment of Zope.
    pub(super) deployment: &'static str,
}

/// The target of a line.
pub(super) fn target(line: &Line, paths: &Paths) -> String {
    let path = path(line.rows, line.fields, paths);
    match line.shows {
        Shows::Rate => united(&format!("perSecond({path})"), "sum", line.label),
        Shows::Growth => {
            let path = if line.rows == Rows::Own { format!("keepLastValue({path})") } else { path };
            growth(&format!("nonNegativeDerivative({path})"), line.label)
        }
        Shows::Sum => united(&path, "sum", line.label),
        Shows::Mean => united(&path, "average", line.label),
        Shows::Largest => united(&path, "max", line.label),
        Shows::Smallest => united(&path, "min", line.label),
        Shows::Rest => {
            let rest = format!("offset(scale({}, -1), 100)", of_all(&path, "average"));
            named(&rest, line.label)
        }
        Shows::PercentOfRates(whole) => {
            let whole = self::path(line.rows, whole, paths);
            percent(&format!("perSecond({path})"), &format!("perSecond({whole})"), line.label)
        }
        Shows::PercentOfSums(whole) => {
            percent(&path, &self::path(line.rows, whole, paths), line.label)
        }
    }
}

fn path(rows: Rows, fields: &[&str], paths: &Paths) -> String {
    let Paths { host, frontend, backend, servers, application, deployment } = paths;
    let of_rows = match rows {
        Rows::Frontends => format!("{host}.frontend.*"),
        Rows::Backends => format!("{host}.backend.*"),
        Rows::Frontend => (*frontend).to_owned(),
        Rows::Backend => (*backend).to_owned(),
        Rows::Servers => (*servers).to_owned(),
        Rows::Daemons => format!("{host}.daemon"),
        Rows::Own => format!("{host}.haproxystats"),
        Rows::Application => (*application).to_owned(),
        Rows::Workers => format!("{application}.workers.*"),
        Rows::Instances => format!("{deployment}.*"),
    };
    match fields {
        [field] => format!("{of_rows}.{field}"),
        several => format!("{of_rows}.{{{}}}", several.join(",")),
    }
}

/// The lines that the label wants.
fn united(series: &str, how: &str, label: Label) -> String {
    match label {
        Label::Name(_) => named(&of_all(series, how), label),
        Label::Host => format!("aliasByNode({series}, -4)"),
        Label::HostAndField => format!("aliasByNode({series}, -4, -1)"),
        Label::Proxy | Label::Server | Label::Worker => {
            format!("groupByNode({series}, -2, '{how}')")
        }
        // Two parts are the name of a metric.
        Label::Instance => format!("groupByNode({series}, -3, '{how}')"),
    }
}

/// As `united`; with `consolidateBy` no growth is lost in points that a graph has no room for.
fn growth(series: &str, label: Label) -> String {
    match label {
        Label::Name(_) => named(&format!("consolidateBy({}, 'sum')", of_all(series, "sum")), label),
        Label::Host => format!("aliasByNode(consolidateBy({series}, 'sum'), -4)"),
        Label::HostAndField => format!("aliasByNode(consolidateBy({series}, 'sum'), -4, -1)"),
        Label::Proxy | Label::Server | Label::Worker => {
            format!("aliasByNode(consolidateBy(groupByNode({series}, -2, 'sum'), 'sum'), 0)")
        }
        Label::Instance => {
            format!("aliasByNode(consolidateBy(groupByNode({series}, -3, 'sum'), 'sum'), 0)")
        }
    }
}

fn percent(series: &str, whole: &str, label: Label) -> String {
    let percent = format!("asPercent({}, {})", of_all(series, "sum"), of_all(whole, "sum"));
    named(&percent, label)
}

fn of_all(series: &str, how: &str) -> String {
    format!("{how}Series({series})")
}

/// A series of all rows has a name, or its own expression for one.
fn named(series: &str, label: Label) -> String {
    match label {
        Label::Name(name) => format!("alias({series}, '{name}')"),
        Label::Host
        | Label::HostAndField
        | Label::Proxy
        | Label::Server
        | Label::Worker
        | Label::Instance => series.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::{growth, percent_of_sums, rate, rest};
    use super::*;

    const PATHS: Paths = Paths {
        host: "n.h",
        frontend: "n.f",
        backend: "n.b",
        servers: "n.s",
        application: "n.u",
        deployment: "n.z",
    };

    #[test]
    fn lines_are_functions_of_graphite() {
        for (line, expected) in [
            (
                rate(Rows::Frontend, &["stot"], Label::Name("all")),
                "alias(sumSeries(perSecond(n.f.stot)), 'all')",
            ),
            (
                rate(Rows::Servers, &["econ", "eresp"], Label::Server),
                "groupByNode(perSecond(n.s.{econ,eresp}), -2, 'sum')",
            ),
            (
                growth(Rows::Own, &["PullSkipped"], Label::Name("lost")),
                "alias(consolidateBy(sumSeries(nonNegativeDerivative(keepLastValue(\
                 n.h.haproxystats.PullSkipped))), 'sum'), 'lost')",
            ),
            (
                percent_of_sums(Rows::Daemons, &["CurrConns"], &["Maxconn"], Label::Name("p")),
                "alias(asPercent(sumSeries(n.h.daemon.CurrConns), \
                 sumSeries(n.h.daemon.Maxconn)), 'p')",
            ),
            (
                rest(Rows::Daemons, &["Idle_pct"], Label::Name("mean")),
                "alias(offset(scale(averageSeries(n.h.daemon.Idle_pct), -1), 100), 'mean')",
            ),
            (
                rate(Rows::Workers, &["requests"], Label::Worker),
                "groupByNode(perSecond(n.u.workers.*.requests), -2, 'sum')",
            ),
            (
                super::super::line::sum(Rows::Instances, &["db.loads"], Label::Instance),
                "groupByNode(n.z.*.db.loads, -3, 'sum')",
            ),
        ] {
            assert_eq!(target(&line, &PATHS), expected);
        }
    }
}
