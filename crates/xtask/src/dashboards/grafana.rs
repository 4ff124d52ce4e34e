//! A dashboard in Grafana's classic JSON model, in which dashboards are shared.
//!
//! The data source is a variable, so that a file can be provisioned as it is.

mod graphite;
mod influxdb;

use serde_json::{Value, json};

use super::line::Line;
use super::{Board, Chart, Panel, Subject, Threshold, Unit};
pub(super) use graphite::GRAPHITE;
pub(super) use influxdb::INFLUXDB;

/// The version of the model in Grafana 13; a newer Grafana migrates it by itself.
const SCHEMA: u32 = 42;

/// The width of Grafana's grid, and of the panels on it.
const GRID: u32 = 24;
const FIGURE: (u32, u32) = (4, 4);
const GRAPH: (u32, u32) = (8, 8);

/// A kind of data source.
pub(super) struct Source {
    /// Grafana's name of the kind.
    kind: &'static str,
    name: &'static str,
    /// The begin of the dashboards' identifiers, and the tag by which they link to each other.
    id: &'static str,
    /// The end of their titles.
    suffix: &'static str,
    /// The least time between two points; empty if the data source knows it.
    interval: &'static str,
    /// The variables that a dashboard has beside that of the data source.
    variables: fn(Subject) -> Vec<Value>,
    /// The query of a line, without what all queries have.
    target: fn(&Line) -> Value,
}

pub(super) fn encode(board: &Board, source: &Source) -> Value {
    json!({
        "uid": id(board, source),
        "title": format!("{}{}", board.title, source.suffix),
        "tags": [source.id],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "1m",
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "annotations": {"list": []},
        "links": [{
            "type": "dashboards",
            "title": "HAProxy",
            "tags": [source.id],
            "asDropdown": false,
            "includeVars": true,
            "keepTime": true,
            "targetBlank": false,
            "icon": "external link",
            "tooltip": "",
            "url": "",
        }],
        "templating": {"list": variables(board.subject, source)},
        "panels": panels(board.panels, source),
    })
}

fn id(board: &Board, source: &Source) -> String {
    board.id.replacen("haproxystats", source.id, 1)
}

fn variables(subject: Subject, source: &Source) -> Vec<Value> {
    let mut variables = vec![json!({
        "type": "datasource",
        "name": "datasource",
        "label": source.name,
        "query": source.kind,
        "refresh": 1,
        "regex": "",
        "hide": 0,
        "multi": false,
        "includeAll": false,
    })];
    let mut queried = (source.variables)(subject);
    for variable in &mut queried {
        variable["datasource"] = datasource(source);
    }
    variables.extend(queried);
    variables
}

/// A variable whose values the database knows.
fn query(name: &str, label: &str, query: &str, regex: &str) -> Value {
    json!({
        "type": "query",
        "name": name,
        "label": label,
        "query": query,
        "regex": regex,
        // With each change of the time range, because proxies come and go.
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": false,
        "includeAll": false,
    })
}

/// The variable with many values at once, and at first with all values, for which `all` stands in
/// a query.
fn several(mut variable: Value, all: &str) -> Value {
    variable["multi"] = json!(true);
    variable["includeAll"] = json!(true);
    variable["allValue"] = json!(all);
    variable["current"] = json!({"text": ["All"], "value": ["$__all"]});
    variable
}

fn datasource(source: &Source) -> Value {
    json!({"type": source.kind, "uid": "${datasource}"})
}

/// Places panels from left to right, line by line. Figures come first, so that the panels of a line
/// have one size.
fn panels(panels: &[Panel], source: &Source) -> Vec<Value> {
    let (mut x, mut y, mut line) = (0, 0, 0);
    let mut placed = Vec::new();
    for (id, one) in (1..).zip(panels) {
        let (width, height) = match one.chart {
            Chart::Figure(_) | Chart::Total => FIGURE,
            Chart::Lines | Chart::Stack | Chart::Bars => GRAPH,
        };
        if x + width > GRID || (line != 0 && line != height) {
            (x, y) = (0, y + line);
        }
        line = height;
        let mut value = panel(one, source);
        value["id"] = json!(id);
        value["gridPos"] = json!({"x": x, "y": y, "w": width, "h": height});
        placed.push(value);
        x += width;
    }
    placed
}

fn panel(panel: &Panel, source: &Source) -> Value {
    let targets: Vec<Value> = ('A'..='Z')
        .zip(panel.lines)
        .map(|(letter, line)| {
            let mut target = (source.target)(line);
            target["refId"] = json!(letter.to_string());
            target["datasource"] = datasource(source);
            target
        })
        .collect();
    let (kind, defaults, options) = match panel.chart {
        Chart::Figure(bad) => figure(bad, "lastNotNull"),
        Chart::Total => figure(Threshold::From(1.0), "sum"),
        Chart::Lines => graph("line", 0, "none"),
        Chart::Stack => graph("line", 40, "normal"),
        Chart::Bars => graph("bars", 60, "normal"),
    };
    let mut defaults = defaults;
    defaults["unit"] = json!(unit(panel.unit));
    if matches!(panel.unit, Unit::Percent) {
        defaults["max"] = json!(100);
    }
    let mut value = json!({
        "type": kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": datasource(source),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
    });
    if !source.interval.is_empty() {
        value["interval"] = json!(source.interval);
    }
    value
}

fn figure(bad: Threshold, calculation: &str) -> (&'static str, Value, Value) {
    let steps = match bad {
        Threshold::Never => json!([{"color": "text", "value": null}]),
        Threshold::From(value) => json!([
            {"color": "green", "value": null},
            {"color": "red", "value": value},
        ]),
        Threshold::Below(value) => json!([
            {"color": "red", "value": null},
            {"color": "green", "value": value},
        ]),
    };
    let defaults = json!({
        "min": 0,
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
    });
    let options = json!({
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "wideLayout": true,
        "showPercentChange": false,
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": [calculation], "fields": "", "values": false},
    });
    ("stat", defaults, options)
}

fn graph(style: &str, fill: u32, stacking: &str) -> (&'static str, Value, Value) {
    let defaults = json!({
        "min": 0,
        "color": {"mode": "palette-classic"},
        "custom": {
            "drawStyle": style,
            "fillOpacity": fill,
            "lineWidth": 1,
            "showPoints": "never",
            "spanNulls": false,
            "stacking": {"mode": stacking, "group": "A"},
        },
    });
    let options = json!({
        "legend": {
            "showLegend": true,
            "displayMode": "table",
            "placement": "bottom",
            "calcs": ["lastNotNull", "max"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    });
    ("timeseries", defaults, options)
}

/// As Grafana names its units.
const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "Bps",
        Unit::Count => "short",
        Unit::Microseconds => "µs",
        Unit::Milliseconds => "ms",
        Unit::Percent => "percent",
        Unit::PerSecond => "cps",
        Unit::Requests => "reqps",
        Unit::Seconds => "s",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::BOARDS;
    use super::*;

    /// Grafana draws overlapping panels one over the other, without an error.
    #[test]
    fn panels_stand_side_by_side_on_the_grid() {
        for (board, source) in
            BOARDS.iter().flat_map(|board| [(board, &GRAPHITE), (board, &INFLUXDB)])
        {
            let (mut cells, mut ids) = (BTreeSet::new(), BTreeSet::new());
            for panel in panels(board.panels, source) {
                let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
                assert!(at("x") + at("w") <= u64::from(GRID), "{panel}");
                for x in at("x")..at("x") + at("w") {
                    for y in at("y")..at("y") + at("h") {
                        assert!(cells.insert((x, y)), "{panel} stands on another");
                    }
                }
                assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
                let targets = panel["targets"].as_array().unwrap();
                assert!(!targets.is_empty() && targets.len() <= 26, "{panel}");
            }
            // The longest uid that Grafana takes.
            assert!(id(board, source).len() <= 40);
        }
    }
}
