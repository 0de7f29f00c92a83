//! Floor 1, rules: the wire formats, known in order to READ them. Pure: bytes in, facts out.

pub mod decode;
pub mod error;
pub mod form;
pub mod grounds;
pub mod meter;
pub mod outline;
pub mod path;
pub mod request;
pub mod shown;
pub mod splice;
pub mod sse;
pub mod unask;

mod ceiling;
#[cfg(any(test, fuzzing))]
pub mod corpus;
mod facts;
mod fields;
mod image;
mod kept;
mod members;
mod multipart;
mod read_chat;
mod read_media;
mod read_messages;
mod read_responses;
mod routes;
#[cfg(test)]
mod slices;
mod unask_chunk;
mod usage_anthropic;
mod usage_openai;
