//! A scriptable fake upstream: answers like `OpenAI` and Anthropic, with faults chosen by the model name
//! (docs/MOCK.md). For our tests and for users who try their config; never in the way of real traffic.

mod answer;
mod anthropic;
mod ask;
mod body;
mod chat;
mod completions;
mod embeddings;
mod encode;
mod fault;
mod intake;
mod knobs;
mod lines;
mod log;
mod media;
mod other;
mod plan;
mod responses;
mod sample;
mod served;
mod server;
mod service;
mod socket;
mod stored;
mod wire;

pub use served::{End, Served, Totals};
pub use server::{Mock, MockConfig, MockHandle, Said};

#[cfg(test)]
mod tests;
