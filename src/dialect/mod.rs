//! Floor 1, rules: the wire formats, known in order to READ them. Pure: bytes in, facts out.

pub mod decode;
pub mod meter;
pub mod path;
pub mod sse;
pub mod unask;

#[cfg(test)]
mod corpus;
mod facts;
mod fields;
mod kept;
mod read_chat;
mod read_media;
mod read_messages;
mod read_responses;
#[cfg(test)]
mod slices;
mod unask_chunk;
mod usage_anthropic;
mod usage_openai;
