//! The checks of `contrib/nagios`, tried with the real tools.
