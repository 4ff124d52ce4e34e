//! The queries of a dashboard, the values that Grafana puts into them, and the points they get.

use std::collections::BTreeSet;

use fancy_regex::Regex;
use serde_json::Value;

use crate::influxdb::servers::InfluxD;

use super::super::boards;
use super::now;

/// One query, and its place in a dashboard.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) board: String,
    pub(super) panel: String,
    /// The name of its line in Grafana.
    pub(super) alias: String,
    pub(super) text: String,
}

impl Query {
    /// The fields that it reads; a pattern for the end of fields counts as its text.
    pub(super) fn fields(&self) -> BTreeSet<String> {
        let field = Regex::new(r#"\((?:"([^"]+)"|/(\w+)\$/)\)"#).unwrap();
        let mut fields = BTreeSet::new();
        for found in field.captures_iter(&self.text) {
            let found = found.unwrap();
            let name = found.get(1).or_else(|| found.get(2)).unwrap();
            fields.insert(name.as_str().to_owned());
        }
        fields
    }
}

/// All queries of the dashboard of that name.
pub(super) fn of_board(name: &str) -> Vec<Query> {
    let board = boards::read("grafana/influxdb", name);
    let mut queries = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["type"], "influxdb", "{target}");
            let text = |name: &str| target[name].as_str().unwrap().to_owned();
            queries.push(Query {
                board: name.to_owned(),
                panel: panel["title"].as_str().unwrap().to_owned(),
                alias: text("alias"),
                text: text("query"),
            });
        }
    }
    queries
}

/// What is chosen at the top of a dashboard, as Grafana puts it into a pattern.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) host: String,
    pub(super) frontend: String,
    pub(super) backend: String,
    pub(super) server: String,
    pub(super) application: String,
    pub(super) deployment: String,
    pub(super) since: u64,
    pub(super) until: u64,
    pub(super) interval: &'static str,
}

impl View {
    /// All hosts and servers; a point for each second of the last minutes.
    pub(super) fn of(frontend: &str, backend: &str) -> Self {
        Self {
            host: ".*".to_owned(),
            frontend: escaped(frontend),
            backend: escaped(backend),
            server: ".*".to_owned(),
            application: String::new(),
            deployment: String::new(),
            since: now() - 300,
            until: now(),
            interval: "1s",
        }
    }

    pub(super) fn until_now(&self) -> Self {
        Self { until: now() + 1, ..self.clone() }
    }

    /// The query that Grafana sends.
    pub(super) fn resolve(&self, query: &str) -> String {
        let time = format!("time >= {}000ms and time <= {}000ms", self.since, self.until);
        let values = [
            ("$__interval", self.interval.to_owned()),
            ("$timeFilter", time),
            ("$host", self.host.clone()),
            ("$frontend", self.frontend.clone()),
            ("$backend", self.backend.clone()),
            ("$server", self.server.clone()),
            ("$application", self.application.clone()),
            ("$deployment", self.deployment.clone()),
        ];
        let resolved = boards::substitute(query, &values);
        let variable = Regex::new(r"\$\w").unwrap();
        assert!(!variable.is_match(&resolved).unwrap(), "a variable is left: {resolved}");
        resolved
    }
}

/// A name in a pattern, as Grafana escapes it.
pub(super) fn escaped(name: &str) -> String {
    Regex::new(r"[\\^$*+?.()|\[\]{}/]").unwrap().replace_all(name, r"\$0").into_owned()
}

/// Several chosen names in a pattern.
pub(super) fn one_of(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| escaped(name)).collect();
    format!("({})", names.join("|"))
}

/// A point of a query's answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    /// The value of the tag by which the query groups; empty if it does not.
    pub(super) tag: String,
    pub(super) column: String,
    pub(super) seconds: u64,
    pub(super) value: f64,
}

/// The points of a query; an error if it has none, or if a tag by which it groups is missing.
pub(super) fn points(
    server: &InfluxD,
    database: &str,
    query: &str,
) -> Result<Vec<Point>, &'static str> {
    let answer = server.query(database, query).ok_or("no answer")?;
    let mut points = Vec::new();
    for series in answer["results"][0]["series"].as_array().ok_or("no series")? {
        let tags = series["tags"].as_object();
        let tag = tags.and_then(|tags| tags.values().next()?.as_str()).unwrap_or_default();
        if tags.is_some() && tag.is_empty() {
            return Err("a tag is missing");
        }
        let columns = series["columns"].as_array().unwrap();
        for row in series["values"].as_array().unwrap() {
            points.extend(points_of_row(tag, columns, row.as_array().unwrap()));
        }
    }
    if points.is_empty() { Err("no point") } else { Ok(points) }
}

/// A row has the time and a value for each column.
fn points_of_row(tag: &str, columns: &[Value], row: &[Value]) -> Vec<Point> {
    let seconds = row[0].as_u64().unwrap();
    let mut points = Vec::new();
    for (column, value) in columns.iter().zip(row).skip(1) {
        if let Some(value) = value.as_f64() {
            let (tag, column) = (tag.to_owned(), column.as_str().unwrap().to_owned());
            points.push(Point { tag, column, seconds, value });
        }
    }
    points
}
