//! Mail: the three real servers, and what the product does on them.

mod connector;
mod daemon;
mod directory;
mod messages;
mod servers;
mod tools;
