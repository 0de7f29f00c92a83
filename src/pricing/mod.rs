//! Floor 1, rules: what a token costs. Catalogue, rates, cost of a usage. Pure.

mod book;
pub mod catalogue;
pub mod cost;
pub mod file;
pub mod import;
mod import_genai;
mod import_litellm;
mod import_merge;
mod names;
pub mod names_of_answer;
pub mod price;
pub mod rates;
pub mod section;
