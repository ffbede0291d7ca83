//! Prepared statements that outlive a server session: what clients call them, and which of them a session has.
//!
//! In transaction mode a client's statements must work on whatever session it gets. So a statement is known by its text:
//! all clients that prepare the same one share it, it has one name on all servers, and a session that lacks it is told
//! of it first. Pure bookkeeping: what is sent, and when, is the link's.

mod budget;
mod catalog;
mod client;
mod described;
mod server;
mod shared_catalog;

pub use self::budget::{Budget, Charge};
pub use self::catalog::{Catalog, Statement};
pub use self::client::{ClientStatements, Named, Unnamed};
pub use self::described::Described;
pub use self::server::{ServerStatements, Under};
pub use self::shared_catalog::SharedCatalog;

/// The name, without its NUL, of a statement that no server has: nothing of the catalog has the number 0.
pub const STAND_IN: &[u8] = b"pgtether_0";
