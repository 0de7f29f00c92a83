//! Floor 1, rules: the wire formats, known in order to READ them. Pure: bytes in, facts out.

pub mod decode;
pub mod deflate;
pub mod error;
pub mod form;
pub mod frames;
pub mod grounds;
pub mod messages;
pub mod meter;
pub mod outline;
pub mod path;
pub mod request;
pub mod shown;
pub mod socket;
mod spelt;
pub mod splice;
pub mod sse;
pub mod unask;

#[cfg(any(test, fuzzing))]
#[path = "answers_tests.rs"]
pub mod answers;
#[cfg(test)]
mod any_json;
mod ceiling;
#[cfg(any(test, fuzzing))]
pub mod corpus;
mod cursor;
mod escape;
mod facts;
mod fields;
mod image;
mod jsonl;
mod kept;
mod members;
mod multipart;
mod read_batches;
mod read_chat;
mod read_media;
mod read_messages;
mod read_responses;
mod read_socket;
mod routes;
mod scribe;
mod segments;
#[cfg(test)]
mod slices;
mod stencil;
mod survey;
mod unask_chunk;
mod usage_anthropic;
mod usage_openai;
