//! For whom a Describe is sent.

/// Who wants to know what a statement takes and returns.
#[derive(Debug)]
pub enum Asker {
    /// The client, of what it calls so, and of that naming.
    Client { name: Box<[u8]>, stamp: u64 },
    /// The client, of what has no name in the catalog, or none at all.
    Untold,
    /// The pool.
    Pool,
}
