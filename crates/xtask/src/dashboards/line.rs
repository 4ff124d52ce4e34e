//! One line of a panel as data. `functions` writes it for Graphite and `influxql` for InfluxDB, so
//! that both show the same.

/// One line, or one for each value of a tag.
pub(super) struct Line {
    pub(super) rows: Rows,
    pub(super) shows: Shows,
    /// HAProxy's names. The values of several are added up.
    pub(super) fields: &'static [&'static str],
    pub(super) label: Label,
}

/// Whose fields are shown, on the hosts in view.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    Frontends,
    Backends,
    /// The frontend that the dashboard has chosen.
    Frontend,
    /// The backend that the dashboard has chosen.
    Backend,
    /// Those servers of the chosen backend that are in view.
    Servers,
    /// All processes of a host together.
    Daemons,
    /// The programs themselves.
    Own,
    /// The application of uWSGI that the dashboard has chosen.
    Application,
    /// Its workers.
    Workers,
    /// The instances of the deployment of Zope that the dashboard has chosen.
    Instances,
}

#[derive(Clone, Copy)]
pub(super) enum Shows {
    /// The sum of how much the counters grow in a second.
    Rate,
    /// The sum of how much the counters grew since the point before.
    Growth,
    Sum,
    Mean,
    Largest,
    Smallest,
    /// What the mean lacks to 100.
    Rest,
    /// Of a hundred of other counters, how many were of these.
    PercentOfRates(&'static [&'static str]),
    /// The sum, of a hundred of the sum of other fields.
    PercentOfSums(&'static [&'static str]),
}

/// How a line is called, and with it which lines there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// One line of all rows.
    Name(&'static str),
    /// A line for each host, of which a row exists once.
    Host,
    /// As `Host`; the field belongs to the name, because the panel shows several.
    HostAndField,
    Proxy,
    Server,
    Worker,
    Instance,
}

type Fields = &'static [&'static str];

/// The counters of answers, by status.
pub(super) const RESPONSES: Fields =
    &["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other"];

pub(super) const fn rate(rows: Rows, fields: Fields, label: Label) -> Line {
    Line { rows, shows: Shows::Rate, fields, label }
}

pub(super) const fn growth(rows: Rows, fields: Fields, label: Label) -> Line {
    Line { rows, shows: Shows::Growth, fields, label }
}

pub(super) const fn sum(rows: Rows, fields: Fields, label: Label) -> Line {
    Line { rows, shows: Shows::Sum, fields, label }
}

pub(super) const fn mean(rows: Rows, fields: Fields, label: Label) -> Line {
    Line { rows, shows: Shows::Mean, fields, label }
}

pub(super) const fn largest(rows: Rows, fields: Fields, label: Label) -> Line {
    Line { rows, shows: Shows::Largest, fields, label }
}

pub(super) const fn smallest(rows: Rows, fields: Fields, label: Label) -> Line {
    Line { rows, shows: Shows::Smallest, fields, label }
}

pub(super) const fn rest(rows: Rows, fields: Fields, label: Label) -> Line {
    Line { rows, shows: Shows::Rest, fields, label }
}

pub(super) const fn percent_of_rates(
    rows: Rows,
    fields: Fields,
    whole: Fields,
    label: Label,
) -> Line {
    Line { rows, shows: Shows::PercentOfRates(whole), fields, label }
}

pub(super) const fn percent_of_sums(
    rows: Rows,
    fields: Fields,
    whole: Fields,
    label: Label,
) -> Line {
    Line { rows, shows: Shows::PercentOfSums(whole), fields, label }
}
