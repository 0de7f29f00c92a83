//! Floor 1, rules: the wire formats, known in order to READ them. Pure: bytes in, facts out.

mod ceiling;
pub mod error;
mod fields;
mod image;
mod multipart;
pub mod outline;
pub mod path;
pub mod request;
mod routes;
pub mod splice;
