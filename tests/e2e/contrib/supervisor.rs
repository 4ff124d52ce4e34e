//! The configuration of `contrib/supervisor`, tried with the real tools.
