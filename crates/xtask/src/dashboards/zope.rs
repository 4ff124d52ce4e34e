//! One deployment of Zope: what its instances do with the database, their caches, their memory.

use super::line::Label::{Instance, Name};
use super::line::Rows::Instances;
use super::line::{growth, largest, percent_of_sums, smallest, sum};
use super::{Chart, Panel, Threshold, Unit};

pub(super) const PANELS: &[Panel] = &[
    Panel {
        title: "Memory",
        about: "All instances in view; memory that several share counts once (PSS).",
        unit: Unit::Bytes,
        chart: Chart::Figure(Threshold::Never),
        lines: &[sum(Instances, &["memory.pss"], Name("memory"))],
    },
    Panel {
        title: "Cache in use",
        about: "Objects that are no ghosts, of the size that is configured. Near 100 for long with \
                many loads: raise cache-size of the database.",
        unit: Unit::Percent,
        chart: Chart::Figure(Threshold::Never),
        lines: &[percent_of_sums(
            Instances,
            &["cache.ngsize"],
            &["cache.max_size"],
            Name("in use"),
        )],
    },
    Panel {
        title: "Youngest instance",
        about: "A small figure is an instance that was started a short time ago.",
        unit: Unit::Seconds,
        chart: Chart::Figure(Threshold::Never),
        lines: &[smallest(Instances, &["instance.uptime"], Name("uptime"))],
    },
    Panel {
        title: "Conflicts that were not resolved",
        about: "In the time in view. Each is a request that Zope gave up or began anew.",
        unit: Unit::Count,
        chart: Chart::Total,
        lines: &[growth(Instances, &["db.unresolved_conflicts"], Name("unresolved"))],
    },
    Panel {
        title: "Loads from the database, by instance",
        about: "In the sampling interval, which is 5 minutes by default: objects that the cache \
                did not have.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[sum(Instances, &["db.loads"], Instance)],
    },
    Panel {
        title: "Stores into the database, by instance",
        about: "In the sampling interval.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[sum(Instances, &["db.stores"], Instance)],
    },
    Panel {
        title: "Connections to the database, by instance",
        about: "In the sampling interval: about one for each request.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[sum(Instances, &["db.connections"], Instance)],
    },
    Panel {
        title: "Conflicts",
        about: "All instances in view. Zope begins a request anew after a conflict.",
        unit: Unit::Count,
        chart: Chart::Bars,
        lines: &[
            growth(Instances, &["db.conflicts"], Name("conflicts")),
            growth(Instances, &["db.unresolved_conflicts"], Name("unresolved")),
        ],
    },
    Panel {
        title: "Objects in the cache, by instance",
        about: "Ghosts, which are objects without their state, are not counted.",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[sum(Instances, &["cache.ngsize"], Instance)],
    },
    Panel {
        title: "Memory, by instance",
        about: "That no other process shares (USS).",
        unit: Unit::Bytes,
        chart: Chart::Lines,
        lines: &[sum(Instances, &["memory.uss"], Instance)],
    },
    Panel {
        title: "Time since the start, by instance",
        about: "",
        unit: Unit::Seconds,
        chart: Chart::Lines,
        lines: &[smallest(Instances, &["instance.uptime"], Instance)],
    },
    Panel {
        title: "Size of the database",
        about: "Without blobs. The instances of a deployment share a database.",
        unit: Unit::Bytes,
        chart: Chart::Lines,
        lines: &[largest(Instances, &["db.size_in_bytes"], Name("size"))],
    },
    Panel {
        title: "Objects in the database",
        about: "",
        unit: Unit::Count,
        chart: Chart::Lines,
        lines: &[largest(Instances, &["db.total_objs"], Name("objects"))],
    },
];
