//! The module of `contrib/puppet`, tried with the real tools.
