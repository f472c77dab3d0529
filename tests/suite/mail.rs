//! Mail: the three real servers, and what the product does on them.

mod servers;
mod tools;
