//! The units of `contrib/systemd`, tried with the real tools.
