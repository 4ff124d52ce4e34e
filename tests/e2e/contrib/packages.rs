//! The Debian package and the RPM, tried with the real tools.
