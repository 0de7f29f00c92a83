//! One law per target: what must hold, whatever the bytes are.

pub mod decoder;
pub mod frames;
pub mod meter;
pub mod multipart;
pub mod request;
pub mod sse;
pub mod unask;
