//! Floor 0, the words: small types that every room speaks. Nothing here knows about HTTP, files or SQL.

pub mod case;
pub mod chance;
pub mod clock;
pub mod digits;
pub mod failpoint;
pub mod glob;
pub mod id;
pub mod limits;
pub mod live;
pub mod money;
pub mod secret;
pub mod units;
pub mod usage;
