//! The suites. `tidy` fails when a file of this directory is not listed here.

mod tidy;
