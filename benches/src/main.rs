//! Measured claims.
fn main() {}
