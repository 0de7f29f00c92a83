//! Top of the house: the command line. One file per command.

pub mod out;
pub mod usage;
mod usage_print;
