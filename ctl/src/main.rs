//! retentionctl.
fn main() {}
