//! What memory the process takes of the kernel.

/// Keeps the kernel from giving this process huge pages, which the allocator asks for. Each thread has memory of its own,
/// so each would have two megabytes for the first byte of a kind, and wait until they are cleared.
pub fn keep_pages_small() {
    // A kernel that knows no huge pages gives none.
    let _none_given = rustix::thread::disable_transparent_huge_pages(true);
}
