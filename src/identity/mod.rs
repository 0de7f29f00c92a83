//! Floor 3: whose key this is. Keyed hashes, never keys.

mod directory;
mod key;
mod pepper;
mod presented;
mod rules;
pub mod section;

pub use directory::{Directory, Entry, ListedTwice};
pub use key::{NoEntropy, Spelling, new_key, spelling};
pub use pepper::{KeyHash, NotAKeyHash, Pepper, PepperFault, ProofFault};
pub use presented::{NoKey, PROTOCOL_KEY, key_of_protocols, presented_key};
pub use rules::{NotAnExpiry, Rules};
