//! retentiond.
fn main() {}
