//! Mail: the three real servers, and what the product does on them.

mod access;
mod connector;
mod daemon;
mod directory;
mod grants;
mod kills;
mod messages;
mod migrate;
mod moving;
mod servers;
mod subjects;
mod tools;
mod unfriendly;
