//! The files for operators in `contrib`, each checked by the tool that reads it.

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
mod uwsgi_setup;
