//! What surrounds the programs for an operator, each judged by the tool that will read it.

mod ansible;
mod container;
mod dashboards;
mod manual;
mod migration;
mod nagios;
mod options;
mod packages;
mod page;
mod puppet;
mod quick_start;
mod rights;
mod supervisor;
mod systemd;
