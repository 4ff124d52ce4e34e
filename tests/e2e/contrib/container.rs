//! The image of `contrib/docker`, tried with the real tools.
